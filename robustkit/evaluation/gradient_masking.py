"""Gradient masking after the attacks: a weaker attack that breaks what stronger ones did not, or comes much nearer.

Other signs of it are looked for elsewhere: gradients that are zero by `checks/doctor.py`, gradients that are not those
of the model's function by `checks/gradient_consistency.py`, loss surfaces by `checks/loss_surface.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from robustkit.attacks.protocols import Protocol
from robustkit.checks.diagnostic import Diagnostic, diagnostic, judged
from robustkit.evaluation.attack_run import AttackRun
from robustkit.evaluation.ledger import Ledger, Mask
from robustkit.maths.intervals import proportion

CHANGED = (0.002, 0.01)  # shares of outcomes that another attack may change before it is a remark, and a failure
NEARER = 0.7  # of the logit margin that gradient attacks leave; black-box attacks rarely get below it
_WEAKER = (
    ("Q13", "single", "a single step"),
    ("Q15", "black-box", "a random search"),
    ("Q16", "control", "random noise"),
    ("Q19", "transfer", "a transfer attack"),
)
_STRONGER = {
    "Q13": "use steps=200 or restarts=5",
    "Q15": "use square:queries=5000, or BPDA for the part that masks the gradient",
    "Q16": "use loss=margin, restarts=5, or Square",
    "Q19": "use the protocol autoattack, or BPDA for the part that masks the gradient",
}


def gradient_masking(runs: Sequence[AttackRun], ledger: Ledger, protocol: Protocol) -> Iterator[Diagnostic]:
    """Yields a check for every kind of weaker attack that ran beside stronger ones on the same samples.

    Args:
        runs: The attacks with their costs.
        ledger: One row per sample.
        protocol: The attacks as they were asked for.

    Source: Carlini et al. 2019, arXiv 1902.06705, section 5; Athalye et al. 2018, arXiv 1802.00420, section 3.1.
    """
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(run.group, []).append(run.label)
    strong = groups.get("white-box", [])
    for id, group, what in _WEAKER:
        stronger = strong + (groups.get("single", []) if group != "single" else [])
        weak = groups.get(group, [])
        rivals = [label for label in stronger if _had_it(runs, protocol, label, weak)]
        if weak and rivals:
            yield _only_by(ledger, id, weak, rivals, what)
            if group == "black-box":
                yield _smaller_margin(ledger, weak, rivals)


def _had_it(runs: Sequence[AttackRun], protocol: Protocol, label: str, weak: list[str]) -> bool:
    """Returns whether an attack ran on all samples the weak ones ran on; in a cascade, later attacks do not."""
    order = [run.label for run in runs]
    return not protocol.cascade or all(order.index(label) < order.index(other) for other in weak)


def _only_by(ledger: Ledger, id: str, weak: list[str], strong: list[str], what: str) -> Diagnostic:
    """Returns whether the weak attacks broke samples that none of the strong ones did."""

    def broken(labels: list[str]) -> Mask:
        hits: Mask = np.any([ledger.broken_under(label) for label in labels], axis=0)
        return hits

    return missed_by_stronger(id, what, int((broken(weak) & ~broken(strong)).sum()), int(ledger.right.sum()))


def _smaller_margin(ledger: Ledger, blind: list[str], strong: list[str]) -> Diagnostic:
    """Returns Q15 on unbroken samples: whether black-box attacks left a much smaller margin than white-box ones."""
    unbroken = ledger.robust
    margin, rival = (
        np.max([ledger[f"{label}/margin"][unbroken] for label in labels], axis=0) for labels in (blind, strong)
    )
    share = proportion(int((margin > NEARER * rival).sum()), len(margin))
    status = judged(share, 0.1, 0.2)
    message = f"on {share.k} of {share.n} unbroken samples a random search left < 70 % of the white-box logit margin"
    if status != "pass":
        message += f": gradients are masked under this threat model; {_STRONGER['Q19']}"
    return diagnostic(
        "Q15", share.value or 0.0, "at most 10 % of the unbroken samples; above 20 % unreliable", status, message
    )


def missed_by_stronger(id: str, what: str, alone: int, right: int) -> Diagnostic:
    """Returns the check `id`: a weak attack broke `alone` of the `right` samples, and no stronger one did."""
    share = proportion(alone, right)
    status = judged(share, *CHANGED)
    message = f"{what} broke {alone} of {right} samples that the stronger attacks did not"
    if status != "pass":
        message += f": gradients are masked or the attacks are too weak; {_STRONGER[id]}"
    limit = "at most 0.2 % of the initially correct samples; above 1 % unreliable (by the 95 % confidence bound)"
    return diagnostic(id, share.value or 0.0, limit, status, message)
