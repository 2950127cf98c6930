"""Samples ranked by confidence: what the summaries of calibration are computed on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robustkit.base.errors import InvalidEvaluation
from robustkit.base.settings import integer, shown
from robustkit.maths.intervals import Proportion, at_once, proportion

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_ROUNDING = 1e-6  # how far float32 arithmetic may carry a value out of its range


@dataclass(frozen=True)
class Bin:
    """One bar (low, high] of a reliability diagram; mean confidence and accuracy are None in an empty bin."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: Proportion | None


@dataclass(frozen=True)
class NullLevel:
    """The ECE that a perfectly calibrated model with the same confidences shows by chance.

    `mean`, `low` and `high` (2.5 and 97.5 % quantiles) describe it; `p_value` is how often it is at least the
    observed ECE.
    """

    mean: float
    low: float
    high: float
    p_value: float


class Ranked:
    """Samples in order of confidence; each summary is a function of how often every sample counts.

    The counts of a bootstrap resample give exactly the value on the resampled data, without sorting it again. Weights
    have shape (r, n), one resample a row, whole numbers that add up to n; each summary returns one value a row.
    """

    def __init__(self, confidence: ArrayLike, correct: ArrayLike, bins: int, *scores: Array) -> None:
        columns = [column_of("confidence", confidence, 1.0), column_of("correct", correct, 1.0), *scores]
        if len({len(column) for column in columns}) > 1:
            lengths = ", ".join(str(len(column)) for column in columns)
            raise InvalidEvaluation(
                f"calibration: expected columns of one length, got {lengths}; join them by sample id"
            )
        if not np.isin(columns[1], (0, 1)).all():
            raise InvalidEvaluation("calibration: expected correct of 0 and 1, got fractions; give right or wrong")
        # Sorted by every column, because the bootstrap must not see the order of the samples.
        order = np.lexsort(columns[::-1])
        self.confidence, self.correct, *self.scores = (column[order] for column in columns)
        self.n, self.bins = len(order), checked_bins(bins)
        self.once = np.ones((1, self.n))
        self.excess = self.confidence - self.correct
        bins = self.bins
        self._bin = bin_of(self.confidence, bins)
        self._in_bin = np.eye(bins)[self._bin]
        self._runs = np.append(0, np.flatnonzero(np.diff(self.confidence, append=np.inf)) + 1)
        self._group_ends = np.cumsum([0] + [len(group) for group in np.array_split(order, bins)])
        # A sample that is answered as the j-th counts in the rates of j, j + 1, ... n answers: 1/j + ... + 1/n, over n.
        counts_in = np.cumsum(1 / np.arange(self.n, 0, -1))[::-1]
        self._withheld = -np.cumsum(np.append(0.0, counts_in))[::-1] / self.n

    def ece(self, excess: Array) -> Array:
        """Takes confidence minus correctness (r, n), weighted or redrawn: the null level redraws the correctness."""
        return np.asarray(np.abs(excess @ self._in_bin).sum(axis=1) / self.n)

    def mce(self, weights: Array) -> Array:
        """Returns the largest gap of any bin that holds weight."""
        mass, gap = weights @ self._in_bin, np.abs((weights * self.excess) @ self._in_bin)
        return np.asarray(np.divide(gap, mass, out=np.zeros_like(gap), where=mass > 0).max(axis=1))

    def adaptive_ece(self, weights: Array) -> Array:
        """Returns the calibration error over bins of equal mass."""
        return np.asarray(
            np.abs(np.diff(self._sum_of_first(self._group_ends, self.excess, weights))).sum(axis=1) / self.n
        )

    def aurc(self, weights: Array) -> Array:
        """Returns the mean error rate over all shares of samples answered, the most confident first."""
        mass, wrong = (self._ends_of_runs(column) for column in (weights, weights * (1 - self.correct)))
        rate = np.diff(wrong) / np.diff(mass).clip(1)  # of each run of equal confidence
        share = np.diff(self._withheld[mass.astype(np.int64)])
        return np.asarray((share * rate).sum(axis=1)).clip(max=1.0)  # it is no more, but for rounding

    def risk(self, rejected: Index, weights: Array) -> Array:
        """Returns the error rates (r, m) of the samples left when so many (m,) of the least confident are withheld."""
        wrong = 1 - self.correct
        errors = (weights @ wrong)[:, None] - self._sum_of_first(rejected, wrong, weights)
        return np.asarray(errors / (self.n - rejected))

    def bars(self) -> tuple[Bin, ...]:
        """Returns the reliability diagram."""
        edges = (np.arange(self.bins + 1) / self.bins).tolist()
        sums = (np.bincount(self._bin, column, self.bins).tolist() for column in (self.confidence, self.correct))
        counts = np.bincount(self._bin, minlength=self.bins).tolist()
        return tuple(
            Bin(low, high, n, total / n, proportion(right, n)) if n else Bin(low, high, 0, None, None)
            for low, high, n, total, right in zip(edges[:-1], edges[1:], counts, *sums, strict=True)
        )

    def _sum_of_first(self, counts: Index, values: Array, weights: Array) -> Array:
        """Sums (r, m) over the (m,) least confident samples; a straight line across a run shares its ties evenly."""
        mass, total = (self._ends_of_runs(column) for column in (weights, weights * values))
        # One line through all resamples, each beginning where the one before has ended.
        begin = (self.n + 1) * np.arange(len(weights))[:, None]
        sums = np.interp((counts + begin).ravel(), (mass + begin).ravel(), total.ravel())
        return np.asarray(sums.reshape(len(weights), -1))

    def _ends_of_runs(self, values: Array) -> Array:
        """Returns running sums (r, runs + 1), from 0 on, at the ends of runs of equal confidence."""
        sums = np.zeros((len(values), self.n + 1))
        np.cumsum(values, axis=1, out=sums[:, 1:])
        return sums if len(self._runs) > self.n else sums[:, self._runs]


def null_level(ranked: Ranked, resamples: int, seed: int) -> NullLevel:
    """Returns the ECE of a perfectly calibrated model with these confidences, by redrawing the correctness."""
    rng = np.random.default_rng([seed, 1])  # another stream than the bootstrap's
    c, n = ranked.confidence, ranked.n
    draws = np.concatenate([ranked.ece(c - (rng.random((rows, n)) < c)) for rows in at_once(resamples, n)])
    # The slack counts equal values as equal whatever the order of their sums; the ones keep p above 0
    # (Davison and Hinkley 1997, section 4.2).
    as_large = int(np.count_nonzero(draws >= ranked.ece(ranked.once * ranked.excess) - 1e-12))
    low, high = np.quantile(draws, [0.025, 0.975])
    return NullLevel(float(draws.mean()), float(low), float(high), (as_large + 1) / (resamples + 1))


def bin_of(values: Array, bins: int) -> Index:
    """Returns the equal-width, right-closed bin of every value; 0 falls in the first, 1 in the last."""
    # i / bins is the double a typed edge such as 0.6 is, so a value on an edge stays in the bin below.
    return np.searchsorted(np.arange(1, bins) / bins, values, side="left")


def checked_bins(bins: int) -> int:
    """Returns `bins`, or raises ConfigurationError below 1."""
    return integer("calibration", "bins", bins)


def check_any(n: int) -> None:
    """Raises InvalidEvaluation where there is no sample."""
    if n == 0:
        raise InvalidEvaluation("calibration: expected at least 1 sample, got 0; give it data")


def check_range(name: str, values: Array, high: float) -> None:
    """Raises InvalidEvaluation unless all values are finite, from 0 to `high` but for rounding."""
    bad = ~((values >= -_ROUNDING) & (values <= high + _ROUNDING) & np.isfinite(values))
    if bad.any():
        raise InvalidEvaluation(
            f"calibration: expected finite {name} from 0 to {high:g}, got {values[bad][0]:g} at sample "
            f"{np.argwhere(bad)[0][0]}; check the model's outputs"
        )


def numbers(name: str, values: ArrayLike) -> Array:
    """Returns values as an array of float64; raises InvalidEvaluation where they are no numbers."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidEvaluation(
            f"calibration: expected {name} as numbers, got {shown(values)}; give one number per sample"
        ) from None


def column_of(name: str, values: ArrayLike, high: float) -> Array:
    """Returns a checked column (n,) of values from 0 to `high`."""
    column = numbers(name, values)
    if column.ndim != 1:
        raise InvalidEvaluation(
            f"calibration: expected {name} of shape (n,), got {column.shape}; give one number per sample"
        )
    check_any(len(column))
    check_range(name, column, high)
    return np.clip(column, 0.0, high)
