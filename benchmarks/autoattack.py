"""AutoAttack side by side with the peers: verdicts, component by component, and the time of the whole protocol.

torchattacks' own AutoAttack runs 10 steps; here its components get the published settings (100 steps, 5000 queries, the
schedule of Square not rescaled) and its `MultiAttack` chains them. ART's AutoAttack, which has no targeted attack and
DeepFool for FAB, runs as it comes. foolbox has none: there PGD, DeepFool and FMN with 100 steps follow one another. All
take turns, one after the other in every round; times are quoted as ratios. The models are small networks trained here
on scikit-learn's digits, once normally and once adversarially, or with --models a folder of `arch.json`, `weights.npz`
read by the `load.py` beside it.

    pip install -e '.[bench]'
    python benchmarks/autoattack.py --samples 100 --rounds 3
    python benchmarks/autoattack.py --reference CHECKOUT     # of fra31/auto-attack, which then is what ratios refer to
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import foolbox
import numpy as np
import torch
import torchattacks
from art.attacks.evasion import AutoAttack
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from robustkit import Classifier, evaluate
from robustkit.attacks import PGD
from robustkit.attacks.protocols import Protocol, get_protocol
from robustkit.data.dataset import batches
from robustkit.defenses import PGDTraining, Standard, fit
from robustkit.loading.data import load_data
from robustkit.model.small_models import create

Case = tuple[str, nn.Module, float, Tensor, Tensor]
ORDER = {"Linf": np.inf, "L2": 2, "L1": 1}  # as ART calls the norms
FOOLBOX = {
    "Linf": ("LinfPGD", "LinfDeepFoolAttack", "LInfFMNAttack"),
    "L2": ("L2PGD", "L2DeepFoolAttack", "L2FMNAttack"),
}


def digits(samples: int) -> Iterator[Case]:
    """Yields an undefended and a defended network for the digits."""
    train = next(batches(load_data("digits", split="train"), 10_000))
    test = next(batches(load_data("digits", split="test"), samples))
    for name, objective, epochs in (
        ("undefended", Standard(), 10),
        ("defended", PGDTraining(attack=PGD(eps=0.15, steps=7)), 20),
    ):
        model = create("cnn", (1, 8, 8), 10, seed=0)
        fit(Classifier(model), train.x, train.y, objective, epochs=epochs, seed=0)
        yield f"digits {name}", model.eval(), 0.15, test.x, test.y


def folder(root: Path, samples: slice, wanted: tuple[str, ...]) -> Iterator[Case]:
    """Yields the networks `name=eps` of a folder with a `load.py`."""
    sys.path.insert(0, str(root))
    import load

    for text in wanted:
        name, _, eps = text.partition("=")
        data = "mnist/test.npz" if name.startswith("mnist") else "cifar10_lossless/test406.npz"
        x, y = load.load_data(str(root / "data" / data))
        yield name, load.load_model(str(root / "models" / name)), float(eps), x[samples], y[samples]


def peers(model: nn.Module, norm: str, eps: float) -> dict[str, torchattacks.attack.Attack]:
    """Returns torchattacks' components with the published settings."""
    common = {"norm": norm, "eps": eps, "n_restarts": 1}
    return {
        "apgd-ce": torchattacks.APGD(model, steps=100, loss="ce", **common),
        "apgd-t": torchattacks.APGDT(model, steps=100, n_classes=10, **common),
        "fab-t": torchattacks.FAB(model, steps=100, multi_targeted=True, n_classes=10, **common),
        "square": torchattacks.Square(model, n_queries=5000, p_init=0.8, resc_schedule=False, **common),
    }


def right_after(model: nn.Module, x_adv: Tensor, y: Tensor) -> Tensor:
    """Returns which rows are still right."""
    with torch.no_grad():
        return model(x_adv).argmax(1) == y


def components(case: Case, norm: str) -> None:
    """Prints the robust accuracy under each component alone, ours and theirs, and how often the verdicts differ."""
    name, model, eps, x, y = case
    ours = get_protocol("autoattack", norm=norm, eps=eps, classes=10).attacks
    for attack, (label, peer) in zip(ours, peers(model, norm, eps).items(), strict=True):
        found = evaluate(Classifier(model), (x, y), Protocol(label, (attack,)))
        clean = right_after(model, x, y)
        theirs = clean.clone()
        theirs[clean] = right_after(model, peer(x[clean], y[clean]), y[clean])
        mine = torch.from_numpy(found.ledger.robust)
        print(
            f"{name:28} {label:8} robustkit {100 * mine.double().mean():5.1f} %  torchattacks "
            f"{100 * theirs.double().mean():5.1f} %  only ours broke {int((theirs & ~mine).sum())}, only theirs "
            f"{int((mine & ~theirs).sum())}",
            flush=True,
        )


def in_art(model: nn.Module, shape: tuple[int, ...]) -> PyTorchClassifier:
    """Returns the model as ART wants it."""
    return PyTorchClassifier(model, nn.CrossEntropyLoss(), shape, 10, clip_values=(0.0, 1.0), device_type="cpu")


def others(
    model: nn.Module, norm: str, eps: float, shape: tuple[int, ...]
) -> Iterator[tuple[str, Callable[[Tensor, Tensor], Tensor]]]:
    """Yields what comes nearest to AutoAttack in ART and foolbox, as functions (x, y) -> x_adv."""
    suite = AutoAttack(in_art(model, shape), ORDER[norm], eps, 2 * eps, batch_size=256)
    for attack in suite.attacks:
        attack.set_params(verbose=False)
    yield "ART", lambda x, y: torch.from_numpy(suite.generate(x.numpy(), y.numpy()))
    wrapped = foolbox.PyTorchModel(model, (0, 1), device="cpu")
    attacks = [getattr(foolbox.attacks, name)(steps=100) for name in FOOLBOX[norm]]

    def one_after_another(x: Tensor, y: Tensor) -> Tensor:
        x_adv = x.clone()
        for attack in attacks:
            left = right_after(model, x_adv, y)
            if left.any():
                x_adv[left] = attack(wrapped, x[left], y[left], epsilons=eps)[1]
        return x_adv

    yield "foolbox", one_after_another


def authors(checkout: Path, model: nn.Module, norm: str, eps: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the authors' own AutoAttack out of a checkout, as a function (x, y) -> x_adv."""
    sys.path.insert(0, str(checkout))
    from autoattack import AutoAttack

    adversary = AutoAttack(model, norm=norm, eps=eps, device="cpu", verbose=False, seed=0)
    return lambda x, y: adversary.run_standard_evaluation(x, y, bs=len(x))


def whole(case: Case, norm: str, rounds: int, more: bool, reference: Path | None) -> None:
    """Prints accuracy, samples that differ and CPU time of the whole protocol, over the first of them."""
    name, model, eps, x, y = case
    robust: dict[str, Tensor] = {}
    ratios: dict[str, list[float]] = {}

    def foreign(attack: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], Tensor]:
        return lambda: right_after(model, attack(x, y), y)

    def protocol(which: str) -> Callable[[], Tensor]:
        chosen = get_protocol(which, norm=norm, eps=eps, classes=10)
        return lambda: torch.from_numpy(evaluate(Classifier(model), (x, y), chosen).ledger.robust)

    contenders = {"AutoAttack": foreign(authors(reference, model, norm, eps))} if reference else {}
    if norm != "L1":  # torchattacks has no L1-APGD
        contenders["torchattacks"] = foreign(torchattacks.MultiAttack(list(peers(model, norm, eps).values())))
    contenders |= {"autoattack": protocol("autoattack"), "fast": protocol("fast")}
    first = next(iter(contenders))
    for label, attack in others(model, norm, eps, tuple(x.shape[1:])) if more else ():
        contenders[label] = foreign(attack)
    for _ in range(rounds):
        spent = {}
        for label, run in contenders.items():
            start = time.process_time()
            robust[label] = run()
            spent[label] = time.process_time() - start
        for label in contenders:
            ratios.setdefault(label, []).append(spent[label] / spent[first])
    for label in contenders:
        mine, theirs = robust[label], robust[first]
        low, middle, high = np.quantile(ratios[label], [0.25, 0.5, 0.75])
        print(
            f"{name:28} {label:14} {100 * mine.double().mean():5.1f} %  CPU {middle:.3f} ({low:.3f} to {high:.3f}) of"
            f" {first}'s; broken here alone {(theirs & ~mine).nonzero().flatten().tolist()}, there alone"
            f" {(mine & ~theirs).nonzero().flatten().tolist()}",
            flush=True,
        )


@click.command()
@click.option("--samples", default=100)
@click.option("--skip", default=0, help="With --models: leave so many out, such as those that were tuned on.")
@click.option("--rounds", default=3, help="Of the whole protocol; 0 leaves it out.")
@click.option("--norm", default="Linf", help="Linf, L2 or L1; torchattacks has no L1-APGD.")
@click.option("--reference", type=click.Path(exists=True, path_type=Path), help="Checkout of fra31/auto-attack.")
@click.option("--threads", default=1)
@click.option("--parts/--no-parts", default=True, help="Compare the components too.")
@click.option("--others/--torchattacks", "more", default=True, help="Also ART's and foolbox's nearest.")
@click.option("--models", "root", type=click.Path(path_type=Path), help="Folder with load.py, models/ and data/.")
@click.argument("wanted", nargs=-1)
def main(
    samples: int,
    skip: int,
    rounds: int,
    norm: str,
    reference: Path | None,
    threads: int,
    parts: bool,
    more: bool,
    root: Path | None,
    wanted: tuple[str, ...],
) -> None:
    """Prints the tables; with --models name the networks and their radii, such as mnist_trades=0.3."""
    torch.set_num_threads(threads)
    for case in folder(root, slice(skip, skip + samples), wanted) if root else digits(samples):
        if parts:
            components(case, norm)
        if rounds:
            whole(case, norm, rounds, more, reference)


if __name__ == "__main__":
    main()
