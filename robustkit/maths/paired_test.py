"""Two models on the same samples: what they disagree on decides, not two intervals side by side."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from scipy.special import ndtri

from robustkit.base.errors import InvalidEvaluation
from robustkit.base.settings import integer
from robustkit.maths.intervals import checked_level


@dataclass(frozen=True)
class Paired:
    """How often two models are right on the same samples.

    Attributes:
        n: Number of samples.
        both: Right under both.
        b: Only the first has them right.
        c: Only the second has them right.
        difference: Share of the second minus share of the first, (c - b) / n; None where there is no sample.
        interval: Of the difference, from -1 to 1; it allows for the two being measured on the same samples.
        p_value: Of "both are right equally often", exact McNemar test.
        level: Two-sided coverage of the interval, a fraction.
    """

    n: int
    both: int
    b: int
    c: int
    difference: float | None
    interval: tuple[float, float]
    p_value: float
    level: float


def paired(both: int, b: int, c: int, n: int, level: float = 0.95) -> Paired:
    """Returns the paired difference of two models with its interval and p value.

    Args:
        both: Samples both have right.
        b: Samples only the first has right.
        c: Samples only the second has right.
        n: All samples.
        level: Two-sided coverage of the interval, a fraction between 0 and 1.

    Raises:
        InvalidEvaluation: A count is negative, or there are more than n.
        ConfigurationError: level is not between 0 and 1.
    """
    given = {"both": both, "b": b, "c": c, "n": n}
    both, b, c, n = (integer("paired", name, count, -sys.maxsize) for name, count in given.items())
    if min(both, b, c) < 0 or both + b + c > n:
        raise InvalidEvaluation(
            f"paired: expected counts >= 0 of at most {n} samples, got {both}, {b} and {c}; count each sample once"
        )
    difference = (c - b) / n if n else None
    return Paired(n, both, b, c, difference, difference_interval(b, c, n, level), mcnemar(b, c), float(level))


def mcnemar(b: int, c: int) -> float:
    """Returns the exact two-sided p value of "both models are right equally often" on the same samples.

    Print b and c beside it: the same difference is clear or noise, depending on how often the two disagree.

    Args:
        b: Number of samples only the first model has right.
        c: Number of samples only the second model has right.

    Raises:
        InvalidEvaluation: a count is negative.

    Source: McNemar 1947, in its exact binomial form.
    """
    from scipy.stats import binomtest  # takes longer to load than all else here

    b, c = (integer("mcnemar", name, count, -sys.maxsize) for name, count in (("b", b), ("c", c)))
    if min(b, c) < 0:
        raise InvalidEvaluation(f"mcnemar: expected counts >= 0, got b = {b}, c = {c}; count discordant samples")
    return float(binomtest(b, b + c).pvalue) if b + c else 1.0


def difference_interval(b: int, c: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Returns the interval of the difference (c - b) / n of two shares measured on the same n samples.

    It holds every difference that the score test, the one McNemar's test is at zero, does not refuse. Unlike the
    normal interval it keeps its coverage for few discordant samples, and has a width where there are none.

    Args:
        b: Samples that count for the first share only.
        c: Samples that count for the second share only.
        n: All samples; with 0 the interval is (-1, 1).
        level: Two-sided coverage, a fraction between 0 and 1.

    Raises:
        ConfigurationError: level is not between 0 and 1.

    Source: Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17, section 3.
    """
    level = checked_level("paired", level)
    b, c, n = (integer("paired", name, count, 0) for name, count in (("b", b), ("c", c), ("n", n)))
    if b + c > n:
        raise InvalidEvaluation(f"paired: expected b + c of at most {n} samples, got {b} and {c}; count each once")
    if not n:
        return -1.0, 1.0
    z = float(ndtri((1 + level) / 2))
    return _end(b, c, n, -z), _end(b, c, n, z)


def _end(b: int, c: int, n: int, z: float) -> float:
    """Returns the difference at which the score statistic, which falls as the difference grows, is -z."""
    limit = math.copysign(1.0, z)
    if c - b == limit * n:
        return limit
    found = (c - b) / n
    from scipy.optimize import brentq

    return float(brentq(lambda d: _score(b, c, n, d) + z, found, limit * (1 - 1e-15), xtol=1e-14))


def _score(b: int, c: int, n: int, d: float) -> float:
    """Returns the standardised distance of the observed difference from `d`.

    The variance is that of the likeliest table whose true difference is `d`: q, the probability of "first only", is
    the larger root of 2 n q^2 - (b + c - d (2 n - c + b)) q - b d (1 - d) = 0.
    """
    middle = b + c - d * (2 * n - c + b)
    q = (middle + math.sqrt(max(middle * middle + 8 * n * b * d * (1 - d), 0.0))) / (4 * n)
    variance = n * (2 * q + d - d * d)
    gap = c - b - n * d
    if variance <= 0:
        return 0.0 if gap == 0 else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)
