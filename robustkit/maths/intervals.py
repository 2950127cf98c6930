"""Sampling noise of the numbers an audit reports: proportions, paired outcomes, bootstrap intervals.

An interval here covers the choice of test samples and nothing else: robust accuracy against a fixed set of
attacks is an upper bound of the true one, because an attack can only be too weak.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincinv, betaln, ndtri, xlog1py

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.settings import between, function, instance, integer, plain, shown
from robustkit.base.settings import seed as known_seed

_CACHED = 1 << 14  # numbers whose arrays stay in a processor's cache, and are not mapped anew each time


@dataclass(frozen=True)
class Proportion:
    """A share `k` of `n` with its two usual intervals; fractions inside, percent only in print.

    Attributes:
        k: Number of hits.
        n: Number of samples.
        value: k / n, or None where there is no sample.
        wilson: Score interval (Wilson 1927), the one to show.
        clopper_pearson: Exact interval (Clopper and Pearson 1934), the one to assure "at least" with, because
            it never covers less than it says. Both intervals are (0, 1) where there is no sample.
        level: Two-sided coverage of the intervals, a fraction.
    """

    k: int
    n: int
    value: float | None
    wilson: tuple[float, float]
    clopper_pearson: tuple[float, float]
    level: float

    def __str__(self) -> str:
        """Returns the share and its Wilson interval in percent, such as ``45.2 % (42.1-48.3)``."""
        if self.value is None:
            return "no samples"
        low, high = self.wilson
        return f"{100 * self.value:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def proportion(k: int, n: int, level: float = 0.95) -> Proportion:
    """Returns the share `k` of `n` with its Wilson and Clopper-Pearson intervals.

    Args:
        k: Number of hits, 0 to n.
        n: Number of samples; with 0 the value is None and both intervals are (0, 1).
        level: Two-sided coverage of the intervals, a fraction between 0 and 1.

    Raises:
        InvalidEvaluation: k is negative or larger than n.
        ConfigurationError: level is not between 0 and 1.
    """
    level = checked_level("proportion", level)
    k, n = _counts("proportion", k, n)
    if n == 0:
        return Proportion(0, 0, None, (0.0, 1.0), (0.0, 1.0), float(level))
    exact = one_sided(k, n, (1 + level) / 2)
    return Proportion(k, n, k / n, _wilson(k, n, level), exact, float(level))


def one_sided(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Returns a lower and an upper bound of a proportion, each of which alone holds with probability `level`.

    They are the ends of the two-sided Clopper-Pearson interval of coverage 2 level - 1: "at least 45 %" may be claimed
    where the first is at least 45 %, which is where the exact test of "less than 45 %" has a p value of 1 - level.

    Args:
        k: Number of hits, 0 to n.
        n: Number of samples; with 0 the bounds are 0 and 1.
        level: Coverage of each bound, a fraction between 1/2 and 1.

    Raises:
        InvalidEvaluation: k is negative or larger than n.
        ConfigurationError: level is not between 1/2 and 1.
    """
    level = checked_level("one_sided", level, "(0.5, 1)")
    k, n = _counts("one_sided", k, n)
    return exact_lower(k, n, level), 1 - exact_lower(n - k, n, level)


def exact_lower(k: float, n: int, level: float) -> float:
    """Returns the lower Clopper-Pearson bound of coverage `level`; `k` may be an expected count, no whole number."""
    return float(betaincinv(k, n - k + 1, 1 - level)) if k > 0 else 0.0


def tail(k: int, n: int, share: float) -> float:
    """Returns the exact probability of `k` or more hits of `n` where each has the probability `share`."""
    return float(betainc(k, n - k + 1, share)) if k else 1.0


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Returns p values that stay honest when several were looked at, in the order given.

    Calling everything below 5 % real is then wrong about any of them at most 5 % of the time, however they depend on
    each other.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    instance("holm", "p_values", p_values, list, tuple, np.ndarray)
    p_values = [between("holm", "every p value", p, "[0, 1]") for p in p_values]
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = least
    return tuple(adjusted)


def confidence_sequence(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Returns an interval for a proportion that stays valid when one looks after every sample and stops at will.

    With probability `level` the intervals of all n = 1, 2, 3, ... hold the true proportion at once, so "stop as soon
    as the interval lies above 40 %" is an honest rule. The price is width: at 1000 samples about 1.9 times that of
    `proportion`, whose intervals hold at one n fixed beforehand.

    The ratio of the mixture likelihood B(k + 1/2, n - k + 1/2) / B(1/2, 1/2) to p^k (1 - p)^(n - k) is a martingale
    under the true p, so it ever reaches 1 / (1 - level) with probability at most 1 - level (Ville's inequality). The
    interval holds every p whose ratio is still below.

    Args:
        k: Number of hits, 0 to n.
        n: Number of samples so far; with 0 the interval is (0, 1).
        level: Coverage of all intervals together, a fraction between 0 and 1.

    Raises:
        InvalidEvaluation: k is negative or larger than n.
        ConfigurationError: level is not between 0 and 1.

    Source: Robbins 1970, "Statistical methods related to the law of the iterated logarithm", with Jeffreys' mixture.
    """
    level = checked_level("confidence_sequence", level)
    k, n = _counts("confidence_sequence", k, n)
    return (_lowest(k, n, level), 1 - _lowest(n - k, n, level)) if n else (0.0, 1.0)


def bootstrap(
    statistic: Callable[[NDArray[np.float64]], ArrayLike],
    n: int,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the lower and upper ends of percentile bootstrap intervals, each shaped like the statistic.

    The statistic is told how often each sample was drawn, not which ones in which order: a resample is then a
    row of weights, many of them are looked at in one go, and the statistic needs no copy of its data.

    Args:
        statistic: Maps counts, shape (r, n), one resample a row, whole numbers >= 0 in float64 that add up to n (or,
            with clusters of unequal size, about n), to r numbers or arrays.
        n: Number of samples, at least 1.
        resamples: Number of times the n samples are drawn with replacement, at least 1.
        seed: Seed of the draws; the same seed gives the same interval.
        level: Two-sided coverage, a fraction between 0 and 1.
        clusters: Which samples come from one origin (frames of a video, crops of an image), shape (n,), anything that
            can be compared. Whole origins are then drawn: samples that share one tell less than as many strangers.

    Raises:
        InvalidEvaluation: there is no sample, or clusters has another length.
        ConfigurationError: resamples is below 1, or level is not between 0 and 1.

    Source: Efron and Tibshirani 1993, section 13.3; for clusters Davison and Hinkley 1997, section 3.8.
    """
    level = checked_level("bootstrap", level)
    function("bootstrap", "statistic", statistic)
    n, seed = integer("bootstrap", "n", n, 0), known_seed("bootstrap", seed)
    if n < 1:
        raise InvalidEvaluation(f"bootstrap: expected at least 1 sample, got n = {n}; give it data")
    resamples = integer("bootstrap", "resamples", resamples)
    origin = None if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1].reshape(-1)
    if origin is not None and len(origin) != n:
        raise InvalidEvaluation(f"bootstrap: expected a cluster for each of {n} samples, got {len(origin)}; join by id")
    parts = resampled(np.random.default_rng(seed), n, resamples, origin)
    values = np.concatenate([np.asarray(statistic(counts), np.float64) for counts in parts])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(low), np.asarray(high)


def resampled(
    rng: np.random.Generator, n: int, resamples: int, origin: NDArray[np.int64] | None = None
) -> Iterator[NDArray[np.float64]]:
    """Yields in parts (r, n) how often each of n samples is drawn with replacement, or its `origin` (n,), from 0 on."""
    origins = n if origin is None else int(origin.max()) + 1
    for rows in at_once(resamples, n):
        drawn = rng.integers(origins, size=(rows, origins)) + origins * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * origins).astype(np.float64).reshape(rows, origins)
        yield counts if origin is None else counts[:, origin]


def at_once(resamples: int, n: int) -> Iterator[int]:
    """Yields how many resamples of n samples to look at together: what fits into a processor's cache, at least one."""
    most = max(1, _CACHED // n)
    yield from (min(most, resamples - done) for done in range(0, resamples, most))


def _wilson(k: int, n: int, level: float) -> tuple[float, float]:
    """Returns the p at which the score test of k hits in n is just not significant (Wilson 1927)."""
    square = float(ndtri((1 + level) / 2)) ** 2
    middle, half = k + square / 2, math.sqrt(square * (k * (n - k) / n + square / 4))
    low, high = (middle - half) / (n + square), (middle + half) / (n + square)
    return low if k else 0.0, high if k < n else 1.0


def _lowest(k: int, n: int, level: float) -> float:
    """Returns the smallest p whose likelihood is still at least 1 - level times that of the mixture."""
    least = float(betaln(k + 0.5, n - k + 0.5) - betaln(0.5, 0.5)) + math.log1p(-level)
    if k == 0:
        return 0.0
    if k == n:
        return math.exp(least / n)
    from scipy.optimize import brentq  # takes longer to load than all else here

    return float(brentq(lambda p: k * math.log(p) + xlog1py(n - k, -p) - least, 1e-300, k / n, xtol=1e-16))


def _counts(who: str, k: int, n: int) -> tuple[int, int]:
    k, n = (integer(who, name, _whole(count), -sys.maxsize) for name, count in (("k", k), ("n", n)))
    if not 0 <= k <= n:
        raise InvalidEvaluation(f"{who}: expected 0 <= k <= n, got k = {k}, n = {n}; count hits among the n samples")
    return k, n


def _whole(count: Any) -> Any:
    """Returns a sum of whole numbers in floating point as an integer, anything else as it is."""
    count = plain(count)
    return int(count) if isinstance(count, float) and count.is_integer() else count


def checked_level(who: str, level: float, interval: str = "(0, 1)") -> float:
    """Returns a coverage, such as 0.95 for 95 %; raises ConfigurationError where it is none."""
    try:
        return between(who, "level", level, interval)
    except ConfigurationError:
        low, high = interval[1:-1].split(", ")
        raise ConfigurationError(
            f"{who}: expected a level between {low} and {high}, got {shown(level)}; 0.95 means 95 %"
        ) from None
