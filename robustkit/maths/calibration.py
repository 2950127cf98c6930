"""How honest a classifier's confidence is: calibration errors, proper scores and their sampling noise.

"Confidence" is the top-1 probability and "correct" tells whether the top-1 class is the label; only the
classwise error looks at the other classes. Equal-width bins are right-closed, (l, u], as in Guo et al. 2017:
confidence 0 falls in the first bin, and 1.0, which saturated networks do reach, in the last.

Where others differ: torchmetrics closes its bins on the left, gives a confidence of exactly 1.0 a bucket of
its own, and in its binary variant compares the positive probability with the positive rate, as scikit-learn's
`calibration_curve` does. scikit-learn's `brier_score_loss` is half of `brier` for two classes, and its
`log_loss` clips probabilities at the machine epsilon of their dtype, `nll` at 2**-126.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.maths.confidence_ranking import (
    Array,
    Bin,
    Index,
    NullLevel,
    Ranked,
    bin_of,
    check_any,
    check_range,
    checked_bins,
    column_of,
    null_level,
    numbers,
)
from robustkit.maths.exact_sums import ExactSums
from robustkit.maths.intervals import Proportion, bootstrap, proportion

__all__ = [
    "Bin", "Calibration", "ClasswiseBins", "Columns", "Estimate", "NullLevel", "adaptive_ece", "aurc", "brier",
    "classwise_ece", "columns", "ece", "mce", "measure", "nll", "reliability",
]  # fmt: skip

SMALLEST_PROBABILITY = 2.0**-126
"""Below this a float32 softmax underflows; no sample costs `nll` more than 87.3 nats."""
CONFIDENT = 0.9
"""A wrong answer given with more confidence than this is a confident error."""

_SUM_ROUNDING = 1e-3  # how far float16 arithmetic may carry the sum of a row from 1


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % percentile bootstrap interval, None where there is none.

    Calibration errors are biased upward and resampling adds the bias once more: for a nearly calibrated model
    the interval of an ECE can lie wholly above its value. Read it beside `NullLevel`.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Calibration:
    """Everything the report says about confidence on one set of samples; fractions, and nats for `nll`.

    `signed_gap` is mean confidence minus accuracy, positive for an over-confident model. `confident_errors`
    is the share of *all* samples that are wrong with confidence above 0.9. `confidence_when_right` and
    `confidence_when_wrong` are None without such samples. `classwise_ece` has no interval: it is streamed, so
    there is nothing left to resample.
    """

    n: int
    bins: int
    accuracy: Proportion
    mean_confidence: float
    ece: Estimate
    adaptive_ece: Estimate
    classwise_ece: Estimate | None
    mce: Estimate
    brier: Estimate
    nll: Estimate
    signed_gap: Estimate
    aurc: Estimate
    ece_if_calibrated: NullLevel
    confidence_when_right: float | None
    confidence_when_wrong: float | None
    confident_errors: Proportion
    reliability: tuple[Bin, ...]
    resamples: int
    seed: int


class Columns(NamedTuple):
    """The per-sample columns that `measure` takes, each of shape (n,)."""

    confidence: Array
    correct: NDArray[np.bool_]
    nll: Array
    brier: Array


def ece(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Returns the expected calibration error in [0, 1]: sum over bins of n_b / n |accuracy_b - confidence_b|.

    Args:
        confidence: Top-1 probabilities, shape (n,), in [0, 1].
        correct: Whether each sample is right, shape (n,), bool or 0 and 1.
        bins: Number of equal-width bins.

    Raises:
        InvalidEvaluation: No samples, shapes that differ, or values that are no confidence or no verdict.
        ConfigurationError: bins is below 1.

    Source: Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599, section 2.
    """
    ranked = Ranked(confidence, correct, bins)
    return float(ranked.ece(ranked.once * ranked.excess).item())


def mce(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Returns the largest |accuracy_b - confidence_b| over the non-empty bins; arguments as for `ece`.

    Source: Guo et al. 2017, arXiv 1706.04599, section 2.
    """
    ranked = Ranked(confidence, correct, bins)
    return float(ranked.mce(ranked.once).item())


def adaptive_ece(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Returns the ECE over groups of equal size in order of confidence; arguments as for `ece`.

    Group sizes differ by one at most. Where a group ends among samples of equal confidence, these share their
    outcomes evenly between both sides, so the order of the samples never matters.

    Source: Nguyen and O'Connor 2015, arXiv 1508.05154; the even sharing of ties is ours.
    """
    ranked = Ranked(confidence, correct, bins)
    return float(ranked.adaptive_ece(ranked.once).item())


def aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Returns the area under the risk-coverage curve: the error of the i most confident, averaged over i.

    Samples of equal confidence share their errors evenly, which is the mean over every order of the ties.
    Arguments as for `ece`.

    Source: Geifman, Uziel and El-Yaniv 2019, arXiv 1805.08206.
    """
    ranked = Ranked(confidence, correct, bins=1)
    return float(ranked.aurc(ranked.once).item())


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> tuple[Bin, ...]:
    """Returns the bars of the reliability diagram with counts and intervals; arguments as for `ece`."""
    return Ranked(confidence, correct, bins).bars()


def columns(probabilities: ArrayLike, labels: ArrayLike, one_vs_rest: bool = False) -> Columns:
    """Returns the per-sample columns of `measure`; of equal top probabilities the first is the answer.

    Args:
        probabilities: Shape (n, K), rows that add up to 1.
        labels: True classes, shape (n,), integers 0 to K - 1.
        one_vs_rest: Rows need not add up to 1; `nll` and `brier`, but not the confidence, divide them by their sum.

    Raises:
        InvalidEvaluation: Shapes that differ, values that are no probabilities, or labels outside 0 to K - 1.
    """
    own, y = _checked_probabilities(probabilities, labels, one_vs_rest)
    p = own / np.maximum(own.sum(axis=1, keepdims=True), SMALLEST_PROBABILITY) if one_vs_rest else own
    true = p[np.arange(len(y)), y]
    surprise = -np.log(np.maximum(true, SMALLEST_PROBABILITY))
    distance = np.square(p).sum(axis=1) - np.square(true) + np.square(1 - true)
    return Columns(own.max(axis=1), own.argmax(axis=1) == y, surprise, distance)


def brier(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Returns the mean squared distance to the one-hot label in [0, 2]: a sum over classes, not divided by K.

    Arguments as for `columns`. Source: Brier 1950.
    """
    return float(columns(probabilities, labels).brier.mean())


def nll(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Returns the mean of -ln p(label) in nats, with p(label) clipped below at `SMALLEST_PROBABILITY`.

    Arguments as for `columns`.
    """
    return float(columns(probabilities, labels).nll.mean())


def classwise_ece(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Returns the ECE of every class's own probability, averaged over the classes; see `ClasswiseBins`."""
    p, y = _checked_probabilities(probabilities, labels, False)
    classwise = ClasswiseBins(p.shape[1], bins)
    classwise.add(p, y)
    return classwise.ece()


class ClasswiseBins:
    """Streamed classwise ECE: K x bins numbers, however many samples pass.

    For every class k, p_k of *all* samples falls in equal-width bins, and in each the mean p_k is compared
    with the share of label k. Classes without a sample count too: K is the model's, not the labels'.

    Args:
        num_classes: K, at least 2.
        bins: Number of equal-width bins of each class.

    Raises:
        ConfigurationError: num_classes is below 2 or bins below 1.

    Source: Kull et al. 2019, arXiv 1910.12656 (classwise-ECE); Nixon et al. 2019, arXiv 1904.01685 (static).
    """

    def __init__(self, num_classes: int, bins: int = 15) -> None:
        if num_classes < 2:
            raise ConfigurationError(
                f"calibration: expected at least 2 classes, got {num_classes}; give one column per class"
            )
        self.num_classes = num_classes
        self.bins = checked_bins(bins)
        self.n = 0
        self.excess = ExactSums(num_classes * bins)

    def add(self, probabilities: ArrayLike, labels: ArrayLike, one_vs_rest: bool = False) -> None:
        """Counts more samples; arguments as for `columns`."""
        p, y = _checked_probabilities(probabilities, labels, one_vs_rest)
        if p.shape[1] != self.num_classes:
            raise InvalidEvaluation(f"calibration: expected {self.num_classes} columns, got {p.shape[1]}; give all")
        cell = np.arange(self.num_classes) * self.bins + bin_of(p, self.bins)
        p[np.arange(len(y)), y] -= 1
        self.excess.add(np.bincount(cell.ravel(), p.ravel(), self.num_classes * self.bins))
        self.n += len(y)

    def update(self, other: ClasswiseBins) -> None:
        """Adds the samples that another one counted."""
        self.excess.update(other.excess)
        self.n += other.n

    def ece(self) -> float:
        """Returns the classwise ECE of everything added; raises InvalidEvaluation where that is nothing."""
        check_any(self.n)
        return float(np.abs(self.excess.values()).sum() / (self.n * self.num_classes))


def measure(
    confidence: ArrayLike,
    correct: ArrayLike,
    nll: ArrayLike,
    brier: ArrayLike,
    classwise: ClasswiseBins | None = None,
    bins: int = 15,
    resamples: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Returns the calibration of the samples behind these columns, in whatever order they come.

    Args:
        confidence: Top-1 probabilities, shape (n,), in [0, 1].
        correct: Whether each sample is right, shape (n,), bool or 0 and 1.
        nll: -ln p(label) per sample, shape (n,), finite and >= 0, in nats.
        brier: Squared distance to the one-hot label per sample, shape (n,), in [0, 2].
        classwise: The same n samples, streamed into the same number of bins.
        bins: Number of equal-width bins, and of groups of equal size.
        resamples: Draws of the bootstrap and of the calibrated model, at least 1.
        seed: Seed of both.

    Raises:
        InvalidEvaluation: No samples, shapes that differ, values outside their range, or another classwise n.
        ConfigurationError: bins or resamples is below 1.
    """
    ranked = Ranked(confidence, correct, bins, column_of("nll", nll, np.inf), column_of("brier", brier, 2.0))
    if classwise is not None and (classwise.n, classwise.bins) != (ranked.n, bins):
        raise InvalidEvaluation(
            f"calibration: expected classwise n = {ranked.n} and bins = {bins}, got n = {classwise.n} and "
            f"bins = {classwise.bins}; stream the same samples into as many bins"
        )
    means = np.stack([*ranked.scores, ranked.excess]) / ranked.n

    def summary(weights: Array) -> Array:
        errors = [ranked.ece(weights * ranked.excess), ranked.adaptive_ece(weights), ranked.mce(weights)]
        return np.stack([*errors, ranked.aurc(weights), *(means @ weights.T)], axis=1)

    low, high = bootstrap(summary, ranked.n, resamples, seed)
    estimates = (Estimate(*row) for row in np.stack([summary(ranked.once)[0], low, high], axis=1).tolist())
    names = ("ece", "adaptive_ece", "mce", "aurc", "nll", "brier", "signed_gap")
    right = ranked.correct == 1
    return Calibration(
        n=ranked.n,
        bins=bins,
        accuracy=proportion(right.sum(), ranked.n),
        mean_confidence=float(ranked.confidence.mean()),
        classwise_ece=None if classwise is None else Estimate(classwise.ece()),
        ece_if_calibrated=null_level(ranked, resamples, seed),
        confidence_when_right=float(ranked.confidence[right].mean()) if right.any() else None,
        confidence_when_wrong=float(ranked.confidence[~right].mean()) if not right.all() else None,
        confident_errors=proportion((~right & (ranked.confidence > CONFIDENT)).sum(), ranked.n),
        reliability=ranked.bars(),
        resamples=resamples,
        seed=seed,
        **dict(zip(names, estimates, strict=True)),
    )


def _checked_probabilities(probabilities: ArrayLike, labels: ArrayLike, one_vs_rest: bool) -> tuple[Array, Index]:
    p, y = numbers("probabilities", probabilities), np.asarray(labels)
    if p.ndim != 2 or y.shape != p.shape[:1]:
        raise InvalidEvaluation(
            f"calibration: expected probabilities (n, K) and labels (n,), got {p.shape} and {y.shape}; "
            "give one row and one label per sample"
        )
    check_any(p.size)
    check_range("probabilities", p, 1.0)
    worst = int(np.abs((sums := p.sum(axis=1)) - 1).argmax())
    if abs(sums[worst] - 1) > _SUM_ROUNDING and not one_vs_rest:
        raise InvalidEvaluation(
            f"calibration: expected probabilities that add up to 1, got {sums[worst]:.4g} at sample {worst}; "
            "give the softmax over all classes"
        )
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= p.shape[1]:
        raise InvalidEvaluation(
            f"calibration: expected integer labels from 0 to {p.shape[1] - 1}, got {y.dtype} "
            f"from {y.min()} to {y.max()}; give class indices"
        )
    return np.clip(p, 0.0, 1.0), y.astype(np.int64)  # copies to work in
