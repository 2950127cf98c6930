"""Two models on the same samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest, norm

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.maths.paired_test import difference_interval, mcnemar, paired


def score(b, c, n, d):
    """The score statistic at a true difference d, its nuisance share found by maximising the likelihood."""
    rest = n - b - c

    def loss(q):  # q is the probability of "first only", q + d of "second only"
        terms = ((b, q), (c, q + d), (rest, 1 - 2 * q - d))
        return -sum(k * math.log(max(p, 1e-300)) for k, p in terms if k)

    found = minimize_scalar(loss, bounds=(max(0, -d), (1 - d) / 2), method="bounded", options={"xatol": 1e-12})
    return (c - b - n * d) / math.sqrt(n * (2 * found.x + d - d * d))


@pytest.mark.parametrize(("b", "c", "n"), [(12, 2, 50), (35, 65, 1000), (3, 4, 30), (1, 9, 20), (235, 265, 1000)])
def test_the_ends_of_the_interval_are_where_the_score_test_turns(b, c, n):
    low, high = difference_interval(b, c, n)
    assert score(b, c, n, low) == pytest.approx(1.959964, abs=1e-4)
    assert score(b, c, n, high) == pytest.approx(-1.959964, abs=1e-4)


PAIRS = st.integers(1, 500).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda b: st.tuples(st.just(b), st.integers(0, n - b), st.just(n)))
)


@given(PAIRS)
def test_the_interval_holds_the_difference_and_turns_round_with_the_models(counts):
    b, c, n = counts
    low, high = difference_interval(b, c, n)
    assert -1 <= low <= (c - b) / n <= high <= 1
    assert low < high
    assert difference_interval(c, b, n) == pytest.approx((-high, -low), abs=1e-9)
    wide_low, wide_high = difference_interval(b, c, n, 0.99)
    assert wide_low <= low
    assert high <= wide_high


@given(PAIRS)
def test_at_zero_the_score_test_is_mcnemars_without_continuity_correction(counts):
    b, c, n = counts
    low, high = difference_interval(b, c, n)
    statistic = (c - b) ** 2 / (b + c) if b + c else 0.0
    if abs(statistic - norm.ppf(0.975) ** 2) > 1e-6:
        assert (low <= 0 <= high) == (statistic < norm.ppf(0.975) ** 2)


def coverage(n, first_only, second_only):
    """Returns the exact coverage: the probability of every table times whether its interval holds the difference."""
    hit = 0.0
    for b in range(n + 1):
        p_b = binom.pmf(b, n, first_only)
        if p_b > 1e-9:
            for c in range(n - b + 1):
                p = p_b * binom.pmf(c, n - b, second_only / (1 - first_only))
                if p > 1e-9:
                    low, high = difference_interval(b, c, n)
                    hit += p * (low <= second_only - first_only <= high)
    return hit


@pytest.mark.parametrize(("n", "first_only", "second_only"), [(20, 0.1, 0.2), (30, 0.05, 0.05), (40, 0.02, 0.1)])
def test_the_interval_covers_what_it_says_even_for_few_samples(n, first_only, second_only):
    assert 0.935 <= coverage(n, first_only, second_only) <= 0.985


def test_the_interval_covers_what_it_says_in_simulation():
    rng = np.random.default_rng(0)
    tables = rng.multinomial(500, (0.03, 0.06, 0.91), size=2000)
    found = {table: difference_interval(*table, 500) for table in {tuple(t[:2]) for t in tables.tolist()}}
    hits = [found[b, c][0] <= 0.03 <= found[b, c][1] for b, c, _ in tables.tolist()]
    assert 0.935 < np.mean(hits) < 0.965


def test_the_same_difference_is_clear_or_noise_by_how_often_they_disagree():
    clear, noise = paired(435, 35, 65, 1000), paired(265, 235, 265, 1000)
    assert clear.difference == noise.difference == 0.03
    assert clear.p_value == pytest.approx(0.0035, abs=5e-5)
    assert noise.p_value == pytest.approx(0.19, abs=0.005)
    assert clear.interval[0] > 0 > noise.interval[0]
    assert clear.p_value == binomtest(35, 100).pvalue == mcnemar(35, 65)


def test_no_samples_and_no_disagreement_are_no_errors():
    assert paired(0, 0, 0, 0).interval == (-1.0, 1.0)
    same = paired(10, 0, 0, 10)
    assert (same.difference, same.p_value) == (0.0, 1.0)
    assert same.interval[1] == pytest.approx(0.2775, abs=1e-4)  # z^2 / (n + z^2)
    assert paired(0, 0, 5, 5).interval[1] == 1.0


@pytest.mark.parametrize("counts", [(-1, 0, 0, 5), (3, 2, 1, 5), (0, 0, -1, 5)])
def test_counts_that_are_no_table_are_refused(counts):
    with pytest.raises(InvalidEvaluation, match="count each sample once"):
        paired(*counts)
    with pytest.raises(ConfigurationError, match="level"):
        difference_interval(1, 1, 5, 95)


# Half widths of 5, 3, 2, 1 and 0.5 points: Wilson and Clopper-Pearson.
