"""What one PGD step costs over the floor, side by side with the peers, in one interleaved run.

The floor is one bare forward plus one backward to the input alone, parameters frozen, eval mode. Every contender gets
the model as users have it (parameters require gradients) and runs the same PGD: Linf, 40 steps, random start; our APGD
makes as many. They take turns; printed is the median over the rounds of time per step over the floor of that round.
torchattacks takes part where it is installed (pip install -e '.[bench]').

    python benchmarks/step_cost.py --device cpu --rounds 7
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable

import click
import foolbox
import torch
from torch import Tensor, nn

from robustkit import Classifier
from robustkit.attacks import APGD, PGD
from robustkit.attacks.all_steps import craft
from robustkit.attacks.base import Attack
from robustkit.model.small_models import create

EPS, STEPS, SIZE = 8 / 255, 40, 2 / 255
NETS = {
    "mlp 8x8": ("mlp", (1, 8, 8)),
    "cnn 8x8": ("cnn", (1, 8, 8)),
    "cnn 28x28": ("cnn", (1, 28, 28)),
    "cnn 32x32": ("cnn", (3, 32, 32)),
    "WRN-16-2": ("wideresnet:depth=16,width=2", (3, 32, 32)),
}


def contenders(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Callable[[], object]]:
    """Returns the floor and every attack as functions without arguments; each makes STEPS steps."""
    ids = torch.arange(len(x))
    attack = PGD(eps=EPS, steps=STEPS, step_size=SIZE)
    classifier = Classifier(model)
    theirs = foolbox.attacks.LinfPGD(abs_stepsize=SIZE, steps=STEPS)
    wrapped = foolbox.PyTorchModel(model, (0, 1), device=x.device)

    def floor() -> None:
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for _ in range(STEPS):
            point = x.clone().requires_grad_()
            torch.autograd.grad(nn.functional.cross_entropy(model(point), y, reduction="sum"), point)
        for parameter in model.parameters():
            parameter.requires_grad_(True)

    def every_step(attack: Attack) -> None:
        with classifier.frozen():
            craft(attack, classifier, x, y, ids, 0)

    table: dict[str, Callable[[], object]] = {
        "floor": floor,
        "robustkit PGD, all steps (training)": lambda: every_step(attack),
        "robustkit PGD, early stop": lambda: attack(classifier, x, y),
        "robustkit APGD, all steps": lambda: every_step(APGD(eps=EPS, steps=STEPS)),
        "foolbox": lambda: theirs(wrapped, x, y, epsilons=EPS),
    }
    if importlib.util.find_spec("torchattacks"):
        import torchattacks

        peer = torchattacks.PGD(model, eps=EPS, alpha=SIZE, steps=STEPS)
        table["torchattacks"] = lambda: peer(x, y)
    return table


def clock(device: torch.device) -> float:
    """Returns the time in seconds at which all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def over_floor(net: str, device: str, batch_size: int, rounds: int) -> dict[str, list[float]]:
    """Returns by contender the time of all steps over that of the floor, a number for every round."""
    kind, shape = NETS[net]
    model = create(kind, shape, 10).eval().to(device)
    x = torch.rand(batch_size, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():
        y = model(x).argmax(1)
    runs = contenders(model, x, y)
    ratios: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        times = {}
        for name, run in runs.items():
            start = clock(x.device)
            run()
            times[name] = clock(x.device) - start
        if turn:  # the first round warms up
            for name, spent in times.items():
                ratios.setdefault(name, []).append(spent / times["floor"])
    return ratios


@click.command()
@click.option("--device", default="cpu")
@click.option("--rounds", default=7)
@click.option("--batch-size", default=128)
@click.option("--threads", default=1)
@click.option("--net", "wanted", multiple=True, type=click.Choice(list(NETS)), help="Only these.")
def main(device: str, rounds: int, batch_size: int, threads: int, wanted: tuple[str, ...]) -> None:
    """Prints the table."""
    torch.set_num_threads(threads)
    for net in wanted or NETS:
        for name, values in over_floor(net, device, batch_size, rounds).items():
            print(f"{net:10} {name:36} {statistics.median(values):6.2f}  ({min(values):.2f}-{max(values):.2f})")


if __name__ == "__main__":
    main()
