"""Tables that are drawn as figures, each a function of the ledger alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustkit.evaluation.ledger import Ledger
from robustkit.maths.confidence_ranking import Ranked

MOST_CLASSES = 25  # of which a whole confusion matrix is kept
_PAIRS, _BARS, _SHARES = 10, 20, 20


@dataclass(frozen=True)
class ConfusedPair:
    """How often samples of class `label` were answered `answer`, clean and under attack."""

    label: str
    answer: str
    clean: int
    attacked: int


@dataclass(frozen=True)
class Confusion:
    """Samples by class (row) and answer (column), without attack and at each sample's worst point.

    The matrices are None with more than 25 classes. `pairs` are the mistakes that the attacks added most of.
    """

    clean: tuple[tuple[int, ...], ...] | None
    attacked: tuple[tuple[int, ...], ...] | None
    pairs: tuple[ConfusedPair, ...]


@dataclass(frozen=True)
class Margins:
    """How many samples have which lead at their worst point: logit of the right class minus the best other one.

    Bin i holds `edges[i]` <= lead < `edges[i + 1]`, and the outermost bins hold everything beyond; 0 is an edge, below
    it a sample is broken. Samples wrong from the start are not attacked and not here.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    median: float


@dataclass(frozen=True)
class RiskCoverage:
    """Share of wrong answers among the most confident samples that are answered, for ascending shares `coverage`."""

    coverage: tuple[float, ...]
    clean: tuple[float, ...]
    attacked: tuple[float, ...]


def confusion(ledger: Ledger, names: Sequence[str]) -> Confusion:
    """Returns who is taken for whom, the classes under their names."""
    labels, k = ledger["label"], len(names)
    whole = k <= MOST_CLASSES

    def cells(answers: NDArray[np.int64]) -> dict[int, int]:
        cell, counts = np.unique(labels * k + answers, return_counts=True)
        return dict(zip(cell.tolist(), counts.tolist(), strict=True))

    clean, attacked = cells(ledger["clean_prediction"]), cells(ledger["worst_prediction"])
    added = {c: n - clean.get(c, 0) for c, n in attacked.items() if c // k != c % k and n > clean.get(c, 0)}
    top = sorted(added, key=lambda c: (-added[c], c))[:_PAIRS]

    def matrix(found: dict[int, int]) -> tuple[tuple[int, ...], ...] | None:
        return tuple(tuple(found.get(i * k + j, 0) for j in range(k)) for i in range(k)) if whole else None

    return Confusion(
        clean=matrix(clean),
        attacked=matrix(attacked),
        pairs=tuple(ConfusedPair(names[c // k], names[c % k], clean.get(c, 0), attacked[c]) for c in top),
    )


def margins(ledger: Ledger) -> Margins | None:
    """Returns the leads left at the worst points; None where no sample was attacked."""
    found = np.array([ledger[f"{attack}/margin"] for attack in ledger.attacks])
    worst = np.where(np.isfinite(found), found, -np.inf).max(axis=0)
    lead = -worst[np.isfinite(worst)]
    if not len(lead):
        return None
    low, high = np.quantile(lead, [0.01, 0.99])
    step = _round_step((max(high, 0.0) - min(low, 0.0)) / _BARS)
    edges = step * np.arange(np.floor(min(low, 0.0) / step), max(np.ceil(high / step), 0) + 1)
    if len(edges) < 2:  # every sample is broken by the same lead, or none
        edges = np.array([-step, 0.0, step])
    counts, _ = np.histogram(lead.clip(edges[0], np.nextafter(edges[-1], -np.inf)), edges)
    return Margins(tuple(edges.tolist()), tuple(counts.tolist()), float(np.median(lead)))


def risk_coverage(ledger: Ledger) -> RiskCoverage:
    """Returns the error when only the most confident samples are answered, at 20 shares; ties share their errors."""
    n = len(ledger)
    answered = np.unique(np.ceil(np.arange(1, _SHARES + 1) / _SHARES * n).astype(np.int64))
    sides = {}
    for side in ("clean", "worst"):
        ranked = Ranked(ledger[f"{side}_confidence"], ledger[f"{side}_prediction"] == ledger["label"], 1)
        sides[side] = tuple(ranked.risk(n - answered, ranked.once)[0].tolist())
    return RiskCoverage(tuple((answered / n).tolist()), sides["clean"], sides["worst"])


def _round_step(width: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is at least `width`."""
    if width <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(width))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= width * (1 - 1e-9)))
