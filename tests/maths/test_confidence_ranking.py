"""Samples ranked by confidence: every summary against the definition, worked out by hand or sample by sample."""

from __future__ import annotations

import numpy as np
import pytest

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.maths.confidence_ranking import Ranked, bin_of, checked_bins, column_of, null_level

CONFIDENCE = [0.9, 0.2, 0.6, 0.6, 0.4]
CORRECT = [1, 0, 1, 0, 1]


@pytest.fixture
def ranked() -> Ranked:
    return Ranked(CONFIDENCE, CORRECT, 2)


def test_samples_come_in_order_of_confidence_with_their_scores():
    found = Ranked(CONFIDENCE, CORRECT, 2, np.array([5.0, 1.0, 4.0, 3.0, 2.0]))
    assert found.confidence.tolist() == [0.2, 0.4, 0.6, 0.6, 0.9]
    assert found.correct.tolist() == [0, 1, 0, 1, 1]
    assert found.scores[0].tolist() == [1, 2, 3, 4, 5]


def test_ece_and_mce_weigh_the_gaps_of_the_bins(ranked):
    # (0, 0.5]: confidences 0.2 and 0.4, one right; (0.5, 1]: 0.6, 0.6 and 0.9, two right
    gaps = abs(0.3 - 1 / 2), abs(0.7 - 2 / 3)
    assert ranked.ece(ranked.once * ranked.excess)[0] == pytest.approx((2 * gaps[0] + 3 * gaps[1]) / 5)
    assert ranked.mce(ranked.once)[0] == pytest.approx(max(gaps))


def test_a_sample_that_counts_twice_is_as_two_samples(ranked):
    twice = np.array([[2.0, 1.0, 1.0, 1.0, 0.0]])  # least confident first: 0.2 twice, 0.9 not at all
    plain = Ranked([0.2, 0.2, 0.4, 0.6, 0.6], [0, 0, 1, 0, 1], 2)
    assert ranked.ece(twice * ranked.excess)[0] == pytest.approx(plain.ece(plain.once * plain.excess)[0])
    for name in ("mce", "adaptive_ece", "aurc"):
        assert getattr(ranked, name)(twice)[0] == pytest.approx(getattr(plain, name)(plain.once)[0])


def test_adaptive_ece_is_over_groups_of_equal_size(ranked):
    # the groups of 3 and 2 part the two samples of confidence 0.6, which share their one hit
    low, high = 0.2 + 0.4 + 0.6 - (0 + 1 + 0.5), 0.6 + 0.9 - (0.5 + 1)
    assert ranked.adaptive_ece(ranked.once)[0] == pytest.approx((abs(low) + abs(high)) / 5)


def test_aurc_is_the_mean_error_rate_over_all_numbers_of_answers(ranked):
    # most confident first: right, then two that share one error, right, wrong
    rates = [0, 0.5 / 2, 1 / 3, 1 / 4, 2 / 5]
    # within a tie either order is as likely, and so the rate is that of the tie
    assert ranked.aurc(ranked.once)[0] == pytest.approx(np.mean(rates))
    plain = Ranked([0.9, 0.7, 0.5], [1, 0, 1], 2)
    assert plain.aurc(plain.once)[0] == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)


def test_risk_is_the_error_rate_of_those_left(ranked):
    assert ranked.risk(np.array([0, 1, 2]), ranked.once)[0].tolist() == pytest.approx([2 / 5, 1 / 4, 1 / 3])


def test_bars_hold_counts_means_and_hits_and_an_empty_one_nothing():
    bars = Ranked(CONFIDENCE, CORRECT, 4).bars()
    assert [(bar.low, bar.high, bar.n) for bar in bars] == [(0, 0.25, 1), (0.25, 0.5, 1), (0.5, 0.75, 2), (0.75, 1, 1)]
    assert bars[2].confidence == pytest.approx(0.6)
    assert (bars[2].accuracy.k, bars[2].accuracy.n) == (1, 2)
    empty = Ranked([0.9], [1], 2).bars()[0]
    assert (empty.n, empty.confidence, empty.accuracy) == (0, None, None)


def test_an_edge_belongs_to_the_bin_below():
    assert bin_of(np.array([0.0, 0.2, 0.2 + 1e-12, 0.6, 1.0]), 5).tolist() == [0, 0, 1, 2, 4]


def test_the_null_level_of_certain_samples_is_zero_and_of_coins_is_known():
    certain = null_level(Ranked([1.0] * 10, [1] * 10, 5), 50, 0)
    assert (certain.mean, certain.low, certain.high, certain.p_value) == (0, 0, 0, 1)
    coins = null_level(Ranked([0.5] * 100, [1] * 100, 1), 4000, 0)
    assert coins.mean == pytest.approx(np.sqrt(2 / np.pi) * 0.05, rel=0.05)  # the mean distance of k/100 from a half
    assert coins.p_value == 1 / 4001
    assert null_level(Ranked([0.5] * 100, [1] * 100, 1), 4000, 0) == coins


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([0.5, 0.5], [1], "columns of one length, got 2, 1"),
        ([0.5], [0.5], "correct of 0 and 1, got fractions"),
        ([1.1], [1], "finite confidence from 0 to 1, got 1.1 at sample 0"),
        ([-0.1], [1], "got -0.1 at sample 0"),
        ([0.5, np.nan], [1, 1], "got nan at sample 1"),
        ([], [], "at least 1 sample"),
        ([[0.5]], [1], r"shape \(n,\), got \(1, 1\)"),
    ],
)
def test_columns_that_mean_nothing_are_refused(confidence, correct, message):
    with pytest.raises(InvalidEvaluation, match=message):
        Ranked(confidence, correct, 2)


def test_rounding_of_float32_is_taken_and_cut_off():
    assert column_of("confidence", [1 + 5e-7, -5e-7], 1.0).tolist() == [1, 0]
    with pytest.raises(InvalidEvaluation):
        column_of("confidence", [1 + 2e-6], 1.0)


def test_less_than_one_bin_is_refused():
    assert checked_bins(1) == 1
    with pytest.raises(ConfigurationError, match="bins to be an integer >= 1, got 0"):
        checked_bins(0)
