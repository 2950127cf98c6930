"""What one step of adversarial training costs, beside the usual loop, in one interleaved run.

The usual loop calls loss.backward() in its inner attack and pays for the gradients of the weights ten times over. All
contenders train the same network (four convolutions, 28x28 images) against Linf 0.3 with the same ten steps of PGD and
SGD. They take turns; printed is the median over the rounds of process time divided by the usual loop of the same round.
ART's AdversarialTrainer takes part where it is installed (pip install adversarial-robustness-toolbox).

    python benchmarks/training_step.py --rounds 7
"""

from __future__ import annotations

import copy
import importlib.util
import statistics
import time
from collections.abc import Callable

import click
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from robustkit import Classifier
from robustkit.attacks import PGD
from robustkit.defenses import FGSMRS, MART, TRADES, Free, Minibatch, Objective, PGDTraining

EPS, STEPS, SIZE = 0.3, 10, 0.075
ATTACK = PGD(eps=EPS, steps=STEPS, step_size=SIZE)


def network() -> nn.Module:
    """Returns four convolutions with batch normalisation and two linear layers."""
    stages: list[nn.Module] = []
    for inputs, outputs, stride in ((1, 32, 1), (32, 32, 2), (32, 64, 1), (64, 64, 2)):
        stages += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(64 * 49, 200), nn.ReLU(), nn.Linear(200, 10))


def usual(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, beta: float | None = None) -> None:
    """Makes one step as most code does: PGD training, or TRADES with weight `beta`."""
    model.eval()
    x_adv = (x + EPS * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(STEPS):
        x_adv = x_adv.detach().requires_grad_()
        if beta is None:
            loss = cross_entropy(model(x_adv), y)
        else:
            loss = kl_div(model(x_adv).log_softmax(1), model(x).softmax(1), reduction="sum")
        model.zero_grad()
        loss.backward()
        assert x_adv.grad is not None
        x_adv = x_adv.detach() + SIZE * x_adv.grad.sign()
        x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
    model.train()
    optimizer.zero_grad()
    if beta is None:
        loss = cross_entropy(model(x_adv.detach()), y)
    else:
        clean = model(x)
        apart = kl_div(model(x_adv.detach()).log_softmax(1), clean.softmax(1), reduction="batchmean")
        loss = cross_entropy(clean, y) + beta * apart
    loss.backward()
    optimizer.step()


def ours(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Minibatch, objective: Objective) -> None:
    """Makes the updates of one batch as the trainer does."""
    classifier = Classifier(model)
    model.train()
    for _ in range(objective.replays):
        optimizer.zero_grad()
        objective.backward(classifier, batch)
        optimizer.step()


def contenders(x: Tensor, y: Tensor) -> dict[str, Callable[[], object]]:
    """Returns every contender as a function that makes one step."""
    start, ids = network(), torch.arange(len(x))

    def fresh(last: bool = False) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = copy.deepcopy(start)
        model = model.to(memory_format=torch.channels_last) if last else model
        return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def make(objective: Objective, last: bool = False) -> Callable[[], object]:
        model, optimizer = fresh(last)
        batch = Minibatch(x.contiguous(memory_format=torch.channels_last) if last else x, y, ids)
        return lambda: ours(model, optimizer, batch, objective)

    plain, trades = fresh(), fresh()
    table: dict[str, Callable[[], object]] = {
        "usual PGD training": lambda: usual(*plain, x, y),
        "robustkit PGD training": make(PGDTraining(attack=ATTACK)),
        "robustkit PGD training, channels_last": make(PGDTraining(attack=ATTACK), last=True),
        "usual TRADES": lambda: usual(*trades, x, y, beta=6.0),
        "robustkit TRADES": make(TRADES(attack=ATTACK)),
        "robustkit MART": make(MART(attack=ATTACK)),
        "robustkit FGSM-RS": make(FGSMRS(eps=EPS)),
        "robustkit Free, m = 8, all 8 updates": make(Free(eps=EPS, m=8)),
    }
    if importlib.util.find_spec("art"):
        table["ART AdversarialTrainer"] = _art(*fresh(), x, y)
    return table


def _art(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Callable[[], object]:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.defences.trainer import AdversarialTrainer
    from art.estimators.classification import PyTorchClassifier

    wrapped = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, optimizer, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = ProjectedGradientDescentPyTorch(
        wrapped, eps=EPS, eps_step=SIZE, max_iter=STEPS, num_random_init=1, batch_size=len(x), verbose=False
    )
    trainer = AdversarialTrainer(wrapped, attack, ratio=1.0)
    return lambda: trainer.fit(x.numpy(), y.numpy(), batch_size=len(x), nb_epochs=1)


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--batch-size", default=128, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(rounds: int, batch_size: int, threads: int) -> None:
    """Prints the table."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch_size, 1, 28, 28, generator=generator)
    y = torch.randint(10, (batch_size,), generator=generator)
    steps = contenders(x, y)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            begun = time.process_time()
            step()
            times[name].append(time.process_time() - begun)
    floor = times["usual PGD training"]
    for name, own in times.items():
        ratio = statistics.median(mine / base for mine, base in zip(own, floor, strict=True))
        print(f"{name:<40} {ratio:5.2f}   {statistics.median(own):.3f} s")


if __name__ == "__main__":
    main()
