"""How training fails without an error: what to look at, when it counts as a failure, and how to fix it.

Every guard is a function of figures that training writes down anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from robustkit.base.errors import RobustkitError
from robustkit.base.exit_codes import ExitCode
from robustkit.defenses.training.measurement import Epoch, Figures


class Diverged(RobustkitError):
    """The loss is not finite any more."""

    exit_code = ExitCode.UNRELIABLE


@dataclass(frozen=True)
class Finding:
    """What a guard found in which epoch: the evidence, the fix (`cure`), and whether the model is of no use."""

    guard: str
    epoch: int
    evidence: str
    cure: str
    fatal: bool

    def __str__(self) -> str:
        return f"{self.guard} in epoch {self.epoch}: {self.evidence}; {self.cure}"


def diverged(epoch: int, batch: int, loss: float, lr: float) -> Diverged:
    """Returns the error for a loss that is not a number."""
    return Diverged(
        f"fit: expected a finite loss, got {loss} in epoch {epoch}, batch {batch}, at learning rate {lr:.3g};"
        " lower lr, or clip the gradient (clip=1.0)"
    )


def usual_format(refusal: str) -> Finding:
    """Returns the note that a model trains in the usual memory format because it refuses channels_last."""
    return Finding(
        "memory format",
        1,
        f"the model refuses channels_last ({refusal}) and trains in the usual order",
        "write reshape instead of view to train faster, or channels_last=False to end this note",
        fatal=False,
    )


def not_learning(
    epoch: Epoch, epochs: int, updates: int, shares: Sequence[float], before: Sequence[Epoch] = ()
) -> Finding | None:
    """Finds a model that still guesses after a quarter of the run and 30 updates.

    Guessing costs the entropy of the labels, ln K for K balanced classes. A mean loss below 97 % of that, or a clean
    accuracy clearly above that of the largest class, is learning. While the loss falls, to 0.02 % of that cost below
    all epochs before, the finding is a warning: small rates and batches need longer than this.

    Args:
        epoch: The last epoch.
        epochs: How many there will be.
        updates: How many were made.
        shares: Share of every class in the training labels.
        before: The epochs before it.
    """
    chance = -sum(share * math.log(share) for share in shares if share > 0)
    if epoch.number < max(2, epochs / 4) or updates < 30 or epoch.loss < 0.97 * chance:
        return None
    figures, largest = epoch.figures, max(shares)
    if figures and figures.clean > largest + 3 * math.sqrt(largest * (1 - largest) / figures.n):
        return None
    seen = f" and {100 * figures.clean:.1f} % clean accuracy" if figures else ""
    evidence = f"mean loss {epoch.loss:.3f}{seen}, where guessing costs {chance:.3f}"
    cure = "check that inputs and labels belong together; else lower lr, or let eps grow (eps_warmup)"
    lowest = min((earlier.loss for earlier in before), default=-math.inf)
    if falls := epoch.loss < lowest - 2e-4 * chance:
        evidence += f" and the loss falls (before {lowest:.3f})"
        cure = "train longer or raise lr; if that does not help, check that inputs and labels belong together"
    return Finding("not learning", epoch.number, evidence, cure, fatal=not falls)


def catastrophic(epoch: int, figures: Figures, best_robust: float) -> Finding | None:
    """Finds catastrophic overfitting: one step no longer finds what PGD finds.

    The sign is a gap between the accuracies under FGSM and under PGD (Wong et al. 2020, arXiv 2001.03994, section 5.4;
    Andriushchenko & Flammarion 2020, arXiv 2007.02617, section 4). It counts when it exceeds 0.2 and accuracy under
    PGD is below 0.4 of that under FGSM (sound training stays above 0.45); or when it exceeds 0.15 while accuracy under
    PGD fell by more than 0.2, Wong's limit, from its best. Each must exceed three standard errors.

    Args:
        epoch: Number of the epoch.
        figures: On the fixed set of probes.
        best_robust: Best accuracy under PGD on that set so far.
    """
    gap, fall = figures.fgsm - figures.robust, best_robust - figures.robust
    noise = 3 * math.sqrt(0.5 / figures.n)
    wide = gap > max(0.2, noise) and figures.robust < 0.4 * figures.fgsm
    fell = gap > max(0.15, noise) and fall > max(0.2, noise)
    if not wide and not fell:
        return None
    return Finding(
        "catastrophic overfitting",
        epoch,
        f"{100 * figures.fgsm:.1f} % right under FGSM but {100 * figures.robust:.1f} % under PGD on {figures.n} probes"
        + (f" (best so far {100 * best_robust:.1f} %)" if fell else ""),
        "take more, smaller steps: on_catastrophic='rollback' does, or use pgd-at; gradalign+ and n-fgsm help too",
        fatal=True,
    )


def robust_overfitting(history: Sequence[Epoch], best: Epoch | None) -> Finding | None:
    """Finds that robust accuracy fell after its best epoch (Rice et al. 2020, arXiv 2002.11569).

    It counts when the last measured epoch lies 0.03 and two standard errors below the best.
    """
    measured = [epoch for epoch in history if epoch.figures]
    if not measured or not measured[-1].figures or not best or not best.figures:
        return None
    top, last = best.figures, measured[-1].figures
    fall = top.robust - last.robust
    if not fall > max(0.03, 2 * math.sqrt(2 * top.robust * (1 - top.robust) / top.n)):
        return None
    return Finding(
        "robust overfitting",
        measured[-1].number,
        f"robust accuracy {100 * top.robust:.1f} % in epoch {best.number}, {100 * last.robust:.1f} % in the last,"
        f" on {top.n} held-out samples",
        "keep the best epoch (select='robust' does), train shorter, or use awp+ or ema",
        fatal=False,
    )
