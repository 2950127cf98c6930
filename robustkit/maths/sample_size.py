"""How many samples a question needs: a wanted interval, a requirement to be decided, two models to be told apart.

The expected counts k = p n are taken as real numbers here, so that n is not decided by a lucky rounding: neighbouring
whole numbers of hits move the half-width by a few parts in a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

from scipy.special import ndtri

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import between, choice, flag, integer
from robustkit.maths.intervals import checked_level, exact_lower

Method = Literal["wilson", "clopper-pearson"]
MOST = 10**9  # beyond this no test set is large enough


def half_width(p: float, n: int, method: Method, level: float = 0.95) -> float:
    """Returns half the width of the interval of a share expected at `p` on `n` samples.

    Args:
        p: Expected share, 0 to 1.
        n: Number of samples, at least 1.
        method: Which interval.
        level: Two-sided coverage, a fraction between 0 and 1.
    """
    p, n = between("plan", "share", p, "[0, 1]"), integer("plan", "n", n)
    choice("plan", "method", method, get_args(Method))
    level = checked_level("plan", level)
    k = p * n
    if method == "wilson":
        z = float(ndtri((1 + level) / 2))
        return z / (n + z * z) * math.sqrt(k * (1 - p) + z * z / 4)
    low, high = (exact_lower(hits, n, (1 + level) / 2) for hits in (k, n - k))
    return (1 - high - low) / 2


def samples_for_half_width(half: float, p: float = 0.5, method: Method = "wilson", level: float = 0.95) -> int:
    """Returns the smallest number of samples whose interval reaches at most `half` to either side.

    Args:
        half: Wanted half-width, a fraction between 0 and 0.5.
        p: Expected share; 0.5 needs most.
        method: Which interval.
        level: Two-sided coverage, a fraction between 0 and 1.

    Raises:
        ConfigurationError: An argument is outside its range.
    """
    half, p = between("plan", "half-width", half, "(0, 0.5)"), between("plan", "share", p, "[0, 1]")
    half_width(p, 1, method, level)
    found = _smallest(lambda n: half_width(p, n, method, level) <= half)
    assert found is not None
    return found


def samples_to_decide(p: float, limit: float, at_least: bool = True, level: float = 0.95) -> int | None:
    """Returns how many samples settle whether a share meets a limit, if the observed share is and stays `p`.

    Settled means that the one-sided Clopper-Pearson bound on the side of the limit reaches it. None where `p` is the
    limit itself, or so near that a billion samples do not tell. As the share observed on more samples will be another
    one, this is the size of the task and no guarantee.

    Args:
        p: The share, 0 to 1.
        limit: Of the requirement, 0 to 1.
        at_least: Whether the requirement is p >= limit, rather than p <= limit.
        level: Coverage of the bound.
    """
    p, limit = between("plan", "share", p, "[0, 1]"), between("plan", "limit", limit, "[0, 1]")
    flag("plan", "at_least", at_least)
    level = checked_level("plan", level, "(0.5, 1)")
    if p == limit:
        return None
    met_from_below = p > limit
    if met_from_below:
        # p >= limit is met at the limit; p <= limit fails only beyond it. For real numbers that is the same.
        return _smallest(lambda n: exact_lower(p * n, n, level) >= limit)
    return _smallest(lambda n: 1 - exact_lower((1 - p) * n, n, level) <= limit)


def samples_for_mcnemar(difference: float, discordance: float, power: float = 0.8, level: float = 0.95) -> int:
    """Returns how many samples let McNemar's test see a difference between two models with probability `power`.

    By the normal approximation n = (z_a sqrt(psi) + z_b sqrt(psi - d^2))^2 / d^2 with psi the discordance and d the
    difference. The exact test is a little more careful and so has a little less power.

    Args:
        difference: Of the two shares, a fraction, not 0.
        discordance: Share of samples that exactly one of them has right; at least the difference.
        power: Probability to see the difference, between 0 and 1.
        level: 1 - level is the two-sided error of the test.

    Raises:
        ConfigurationError: An argument is outside its range.

    Source: Connor 1987, "Sample size for testing differences in proportions for the paired-sample design".
    """
    power, level = between("plan", "power", power, "(0, 1)"), checked_level("plan", level)
    size = abs(between("plan", "difference", difference, "[-1, 1]"))
    discordance = between("plan", "discordance", discordance, "[0, 1]")
    if not 0 < size <= discordance <= 1:
        raise ConfigurationError(
            f"plan: expected 0 < difference <= discordance <= 1, got a difference of {difference:g} and a discordance "
            f"of {discordance:g}; two models that differ by 2 % disagree on at least 2 % of the samples"
        )
    error, wanted = float(ndtri((1 + level) / 2)), float(ndtri(power))
    root = error * math.sqrt(discordance) + wanted * math.sqrt(discordance - size * size)
    return math.ceil((root / size) ** 2)


def _smallest(enough: Callable[[int], bool]) -> int | None:
    """Returns the smallest n that is enough, given that every larger one is too; None above `MOST`."""
    high = 1
    while not enough(high):
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
