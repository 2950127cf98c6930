"""Sampling noise against published figures, exact values and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import beta
from scipy.stats import binomtest

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.maths.intervals import bootstrap, confidence_sequence, proportion
from robustkit.maths.paired_test import mcnemar


@pytest.mark.parametrize(
    ("share", "n", "points"),
    [
        *[
            (0.5, 100, 9.6),
            (0.5, 256, 6.1),
            (0.5, 500, 4.4),
            (0.5, 1000, 3.1),
            (0.5, 2000, 2.2),
            (0.5, 5000, 1.4),
        ],
        *[(0.5, 10000, 1.0), (0.9, 500, 2.6), (0.9, 1000, 1.9), (0.9, 2000, 1.3), (0.9, 10000, 0.6)],
        *[(0.9, 100, 6.0), (0.9, 256, 3.7), (0.9, 5000, 0.8)],
    ],
)
def test_wilson_half_widths_are_the_tabled_ones(share, n, points):
    low, high = proportion(round(share * n), n).wilson
    assert 100 * (high - low) / 2 == pytest.approx(points, abs=0.05)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (1, 9), (37, 256), (9_909, 10_000)])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_both_intervals_are_those_of_scipy(k, n, level):
    ours = proportion(k, n, level)
    theirs = {method: tuple(binomtest(k, n).proportion_ci(level, method)) for method in ("wilson", "exact")}
    assert ours.wilson == pytest.approx(theirs["wilson"], abs=1e-12)
    assert ours.clopper_pearson == pytest.approx(theirs["exact"], abs=1e-9)  # which scipy searches for


@pytest.mark.parametrize(("n", "limit"), [(100, 0.036), (1000, 0.0037), (10000, 0.0004)])
def test_zero_robust_samples_leave_the_exact_upper_limit(n, limit):
    low, high = proportion(0, n).clopper_pearson
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / n), rel=1e-6)
    assert high == pytest.approx(limit, rel=0.08)


def test_a_higher_level_gives_a_wider_interval():
    narrow, wide = proportion(30, 100, level=0.9), proportion(30, 100, level=0.99)
    assert wide.wilson[0] < narrow.wilson[0] < 0.3 < narrow.wilson[1] < wide.wilson[1]
    assert (narrow.level, wide.level) == (0.9, 0.99)


@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_both_intervals_hold_the_value_and_stay_fractions(k_of_n):
    k, n = k_of_n
    share = proportion(k, n)
    for low, high in (share.wilson, share.clopper_pearson):
        assert -1e-12 <= low <= high <= 1 + 1e-12
        if n:
            assert low - 1e-12 <= share.value <= high + 1e-12


def test_no_sample_has_no_value_and_every_share_is_possible():
    nothing = proportion(0, 0)
    assert (nothing.value, nothing.wilson, nothing.clopper_pearson) == (None, (0.0, 1.0), (0.0, 1.0))
    assert str(nothing) == "no samples"


def test_a_proportion_prints_in_percent_and_holds_plain_python_numbers():
    share = proportion(np.int64(452), np.int64(1000))
    assert str(share) == "45.2 % (42.1-48.3)"
    assert {type(v) for v in (share.k, share.n)} == {int}
    assert {type(v) for v in (share.value, share.level, *share.wilson, *share.clopper_pearson)} == {float}


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_a_share_above_one_or_below_zero_is_refused(k, n):
    with pytest.raises(InvalidEvaluation, match=rf"proportion: expected 0 <= k <= n, got k = {k}, n = {n};"):
        proportion(k, n)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, float("nan")])
def test_a_level_that_is_no_fraction_is_refused(level):
    with pytest.raises(ConfigurationError, match="expected a level between 0 and 1"):
        proportion(1, 2, level)
    with pytest.raises(ConfigurationError, match="expected a level between 0 and 1"):
        bootstrap(np.sum, 3, level=level)


COUNTS = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def share_ever_excluded(interval, p, n=1000, sequences=2000):
    """Returns how many of many samples of size n have an interval without p at one of their 1, 2, ..., n looks."""
    hits = (np.random.default_rng(0).random((sequences, n)) < p).cumsum(axis=1)
    excluded, fewest, most = np.zeros(sequences, dtype=bool), 0, 0
    for looks in range(1, n + 1):
        # The counts that hold p are a range whose ends grow with n, so it need not be searched anew.
        while interval(fewest, looks)[1] < p:
            fewest += 1
        while most < looks and interval(most + 1, looks)[0] <= p:
            most += 1
        excluded |= (hits[:, looks - 1] < fewest) | (hits[:, looks - 1] > most)
    return excluded.mean()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_confidence_sequence_may_be_looked_at_after_every_sample_and_wilson_may_not(p):
    assert 0.005 < share_ever_excluded(confidence_sequence, p) <= 0.05
    assert share_ever_excluded(lambda k, n: proportion(k, n).wilson, p) > 0.25


def test_a_confidence_sequence_spends_what_its_level_allows():
    assert 0.1 < share_ever_excluded(lambda k, n: confidence_sequence(k, n, level=0.7), 0.5) <= 0.3


@given(COUNTS, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_the_mixture_is_as_likely_at_both_ends_as_the_level_says(k_of_n, level):
    k, n = k_of_n
    # One sample at a time, instead of by the Beta function: the predictive share of hits is (k + 1/2) / (n + 1).
    mixture = sum(math.log(i + 0.5) for i in (*range(k), *range(n - k))) - math.lgamma(n + 1)
    for p, inside in zip(confidence_sequence(k, n, level), (k, n - k), strict=True):
        if inside:
            likelihood = k * math.log(p) + ((n - k) * math.log1p(-p) if k < n else 0)
            assert mixture - likelihood == pytest.approx(-math.log(1 - level), abs=1e-6)


@given(COUNTS)
def test_a_confidence_sequence_holds_the_exact_interval_of_a_fixed_sample_size(k_of_n):
    low, high = confidence_sequence(*k_of_n)
    fixed = proportion(*k_of_n).clopper_pearson
    assert 0 <= low <= fixed[0] + 1e-12
    assert fixed[1] - 1e-12 <= high <= 1


@given(COUNTS)
def test_a_confidence_sequence_of_the_misses_is_the_mirror_image(k_of_n):
    k, n = k_of_n
    low, high = confidence_sequence(k, n)
    assert confidence_sequence(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 1])
def test_a_confidence_sequence_narrows_with_samples_and_widens_with_the_level(share):
    widths = [high - low for low, high in (confidence_sequence(round(share * n), n) for n in (4, 40, 400, 4000, 40000))]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.03
    narrow, wide = (confidence_sequence(round(share * 40), 40, level) for level in (0.9, 0.99))
    assert wide[1] - wide[0] > narrow[1] - narrow[0]


def test_the_limits_of_a_confidence_sequence_are_exact():
    assert confidence_sequence(0, 0) == (0.0, 1.0)
    for n in (1, 10, 1000):
        high = 1 - (0.05 * beta(0.5, n + 0.5) / math.pi) ** (1 / n)
        assert confidence_sequence(0, n) == (0.0, pytest.approx(high, rel=1e-12))
        assert confidence_sequence(n, n) == (pytest.approx(1 - high, rel=1e-12), 1.0)
    assert {type(end) for end in confidence_sequence(np.int64(3), np.int64(10))} == {float}


def test_a_confidence_sequence_refuses_what_is_no_share_and_no_level():
    with pytest.raises(InvalidEvaluation, match="confidence_sequence: expected 0 <= k <= n, got k = 6, n = 5;"):
        confidence_sequence(6, 5)
    with pytest.raises(ConfigurationError, match="expected a level between 0 and 1, got 95;"):
        confidence_sequence(1, 2, level=95)


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [(0, 0, 1.0), (0, 5, 2 / 2**5), (1, 2, 1.0), (35, 65, 0.0035), (235, 265, 0.19)],
)
def test_mcnemar_is_the_exact_binomial_test_of_the_disagreements(b, c, p):
    assert mcnemar(b, c) == pytest.approx(p, rel=0.03)
    assert mcnemar(c, b) == mcnemar(b, c)


def test_mcnemar_refuses_a_negative_count():
    with pytest.raises(InvalidEvaluation, match="mcnemar: expected counts >= 0, got b = -1, c = 2;"):
        mcnemar(-1, 2)


def test_bootstrap_gives_the_binomial_spread_of_a_mean():
    right = np.arange(400) < 100
    low, high = bootstrap(lambda counts: counts @ right / 400, 400, resamples=4000)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert (low, high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.005)


def test_bootstrap_tells_the_statistic_how_often_each_sample_was_drawn():
    seen = []
    bootstrap(lambda counts: seen.extend(counts) or counts[:, 0], 7, resamples=50)
    assert len(seen) == 50
    assert all(counts.shape == (7,) and counts.sum() == 7 for counts in seen)
    assert len({tuple(counts) for counts in seen}) > 40


def test_resamples_that_do_not_fit_at_once_are_drawn_in_parts(monkeypatch):
    share = lambda counts: counts @ np.arange(30)  # noqa: E731
    seen = []
    monkeypatch.setattr("robustkit.maths.intervals._CACHED", 30 * 8)
    bootstrap(lambda counts: seen.append(len(counts)) or share(counts), 30, resamples=50)
    assert seen == [8] * 6 + [2]
    monkeypatch.setattr("robustkit.maths.intervals._CACHED", 1)
    assert np.shape(bootstrap(share, 30, resamples=50)) == (2,)


def test_bootstrap_keeps_the_shape_of_the_statistic_and_answers_to_its_seed():
    def statistic(counts):
        return np.stack([counts[:, :25].sum(axis=1), counts @ np.arange(50)], axis=1)

    first, again, other = (np.array(bootstrap(statistic, 50, 99, seed)) for seed in (1, 1, 2))
    assert first.shape == (2, 2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_bootstrap_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    bootstrap(lambda counts: counts[:, 0], 10, 10)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_bootstrap_refuses_no_sample_and_no_resample():
    with pytest.raises(InvalidEvaluation, match="bootstrap: expected at least 1 sample, got n = 0;"):
        bootstrap(np.sum, 0)
    with pytest.raises(ConfigurationError, match="bootstrap: expected resamples to be an integer >= 1, got 0;"):
        bootstrap(np.sum, 5, resamples=0)
