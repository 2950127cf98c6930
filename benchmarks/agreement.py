"""Robustkit's protocols against single attacks of torchattacks, foolbox and ART, sample by sample.

For every network and norm: the robust accuracy that `autoattack` and `fast` leave, that of each foreign attack, and how
many samples only the foreign attack broke. A point counts only if it lies in ball (to rounding) and box and is
misclassified in a fresh pass, whoever made it. torchattacks has no L1-APGD; there foolbox and ART stand in.

    pip install -e '.[bench]'
    python benchmarks/agreement.py --samples 60
    python benchmarks/agreement.py --models FOLDER mnist_trades=0.3 --norm L2 mnist_trades=1.5
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import foolbox
import torch
import torchattacks
from art.attacks.evasion import AutoProjectedGradientDescent, SquareAttack
from autoattack import ORDER, digits, folder, in_art, peers, right_after
from torch import Tensor, nn

from robustkit import Classifier, evaluate
from robustkit.attacks.protocols import get_protocol
from robustkit.maths.norms import Norm, size

Found = Callable[[Tensor, Tensor], Tensor]
RADII = {"Linf": 0.15, "L2": 0.6, "L1": 1.3}  # of the digits
FOOLBOX: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "Linf": (("LinfPGD", {"steps": 100}), ("LinfDeepFoolAttack", {}), ("LInfFMNAttack", {"steps": 100})),
    "L2": (
        ("L2PGD", {"steps": 100}),
        ("L2CarliniWagnerAttack", {"steps": 200}),
        ("DDNAttack", {}),
        ("L2FMNAttack", {"steps": 100}),
    ),
    "L1": (("EADAttack", {"steps": 500}), ("SparseL1DescentAttack", {"steps": 100}), ("L1FMNAttack", {"steps": 100})),
}


def strangers(
    model: nn.Module, norm: Norm, eps: float, shape: tuple[int, ...], slow: bool
) -> Iterator[tuple[str, Found]]:
    """Yields name and function (x, y) -> x_adv of every foreign attack."""
    if norm != "L1":
        for name, attack in peers(model, norm, eps).items():
            if name != "square" or slow:
                yield f"torchattacks {name}", attack
        dlr = torchattacks.APGD(model, norm=norm, eps=eps, steps=100, loss="dlr")
        yield "torchattacks apgd-dlr", dlr
    wrapped = foolbox.PyTorchModel(model, (0, 1), device="cpu")
    for name, settings in FOOLBOX[norm]:
        theirs = getattr(foolbox.attacks, name)(**settings)
        yield f"foolbox {name}", lambda x, y, theirs=theirs: theirs(wrapped, x, y, epsilons=eps)[1]
    order, art = ORDER[norm], in_art(model, shape)
    kinds: dict[str, Any] = {
        "APGD": AutoProjectedGradientDescent(
            art, order, eps, 2 * eps, 100, nb_random_init=1, batch_size=128, loss_type=None, verbose=False
        )
    }
    if slow and norm != "L1":
        kinds["Square"] = SquareAttack(art, order, max_iter=1000, eps=eps, verbose=False)
    for name, kind in kinds.items():
        yield f"ART {name}", lambda x, y, kind=kind: torch.from_numpy(kind.generate(x.numpy(), y.numpy()))


@click.command()
@click.option("--samples", default=60)
@click.option("--norm", type=click.Choice(["Linf", "L2", "L1"]), default="Linf")
@click.option("--threads", default=1)
@click.option("--slow/--quick", default=True, help="Also the Square attacks of the others.")
@click.option("--models", "root", type=click.Path(path_type=Path), help="Folder with load.py, models/ and data/.")
@click.argument("wanted", nargs=-1)
def main(samples: int, norm: Norm, threads: int, slow: bool, root: Path | None, wanted: tuple[str, ...]) -> None:
    """Prints the table; with --models name the networks and their radii, such as mnist_trades=0.3."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    cases = folder(root, samples, wanted) if root else ((n, m, RADII[norm], x, y) for n, m, _, x, y in digits(samples))
    for name, model, eps, x, y in cases:
        standing = {}
        for which in ("autoattack", "fast"):
            begun = time.process_time()
            found = evaluate(Classifier(model), (x, y), get_protocol(which, norm=norm, eps=eps, classes=10))
            standing[which] = torch.from_numpy(found.ledger.robust)
            _line(name, norm, eps, f"robustkit {which}", standing[which], "", begun)
        clean = right_after(model, x, y)
        for label, attack in strangers(model, norm, eps, tuple(x.shape[1:]), slow):
            begun = time.process_time()
            x_adv = attack(x[clean], y[clean]).detach()
            in_ball = size(x_adv - x[clean], norm) <= eps * (1 + 1e-5) + 1e-6
            inside = in_ball & ((x_adv >= 0) & (x_adv <= 1)).flatten(1).all(1)
            stands = clean.clone()
            stands[clean] = right_after(model, x_adv, y[clean]) | ~inside
            extra = "  ".join(f"only it, not {k}: {int((~stands & v).sum())}" for k, v in standing.items())
            _line(name, norm, eps, label, stands, extra, begun)


def _line(name: str, norm: str, eps: float, label: str, stands: Tensor, extra: str, begun: float) -> None:
    share, spent = 100 * float(stands.double().mean()), time.process_time() - begun
    print(f"{name:24} {norm} {eps:<7.4g} {label:28} {share:5.1f} %  {spent:6.1f} s  {extra}", flush=True)


if __name__ == "__main__":
    main()
