"""Calibration against hand-made values, other libraries, simulation and its own promises."""

import dataclasses
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.maths.calibration import (
    SMALLEST_PROBABILITY,
    ClasswiseBins,
    adaptive_ece,
    aurc,
    brier,
    classwise_ece,
    columns,
    ece,
    mce,
    measure,
    nll,
    reliability,
)
from robustkit.maths.confidence_ranking import Ranked
from robustkit.maths.intervals import proportion, resampled

ATOL = 1e-12


def softmax_rows(rng, n, num_classes):
    powers = np.exp(rng.normal(0, 2, (n, num_classes)))
    return powers / powers.sum(axis=1, keepdims=True)


def calibrated_columns(rng, n, shift=0.0):
    """Two-class columns whose accuracy is the confidence minus `shift`."""
    confidence = rng.uniform(0.6, 1, n)
    correct = rng.random(n) < confidence - shift
    true = np.where(correct, confidence, 1 - confidence)
    return confidence, correct, -np.log(true), 2 * (1 - true) ** 2


# --- exact values -------------------------------------------------------------------------------------------


def test_ece_and_mce_of_two_bins_by_hand():
    confidence, correct = [0.6, 0.7, 0.9, 1.0], [1, 0, 1, 1]  # two bins of (0.5, 0.75] and (0.75, 1]
    assert ece(confidence, correct, 4) == pytest.approx(0.5 * 0.15 + 0.5 * 0.05, abs=ATOL)
    assert mce(confidence, correct, 4) == pytest.approx(0.15, abs=ATOL)


def test_confidence_one_shares_the_last_bin():
    assert ece([0.95, 1.0], [1, 0], 10) == pytest.approx(0.475, abs=ATOL)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    for bins in range(1, 31):
        upper = np.array([(k + 1) / bins for k in range(bins)])
        beyond = np.nextafter(upper[:-1], 1)
        assert [bar.n for bar in reliability(upper, np.ones(bins), bins)] == [1] * bins
        assert [bar.n for bar in reliability([0, *beyond], np.ones(bins), bins)] == [1] * bins


def test_confidence_zero_is_in_the_first_bin_and_one_in_the_last():
    counts = [bar.n for bar in reliability([0.0, 1.0, 1.0], [0, 1, 1], 15)]
    assert counts == [1] + [0] * 13 + [2]


@pytest.mark.parametrize("accuracy", [0.0, 0.3, 1.0])
def test_always_certain_with_accuracy_a_has_error_one_minus_a(accuracy):
    correct = np.arange(10) < 10 * accuracy
    for error in (ece, mce, adaptive_ece):
        assert error(np.ones(10), correct) == pytest.approx(1 - accuracy, abs=ATOL)
    certain = np.tile([1.0, 0.0], (10, 1))
    assert brier(certain, 1 - correct.astype(int)) == pytest.approx(2 * (1 - accuracy), abs=ATOL)


def test_adaptive_ece_is_the_sum_over_equal_groups_of_the_sorted_samples():
    rng = np.random.default_rng(0)
    confidence = rng.random(103)
    correct = rng.random(103) < 0.5
    order = np.argsort(confidence)
    groups = zip(np.array_split(confidence[order], 15), np.array_split(correct[order], 15), strict=True)
    by_hand = sum(abs((c - r).sum()) for c, r in groups) / 103
    assert adaptive_ece(confidence, correct) == pytest.approx(by_hand, abs=ATOL)


def test_adaptive_ece_shares_the_verdicts_of_equal_confidences_evenly():
    # The groups are {0.8, 0.8} and {0.8, 1.0}: each tied sample counts as 2 / 3 right.
    confidence, correct = [0.8, 0.8, 0.8, 1.0], [1, 0, 1, 1]
    assert adaptive_ece(confidence, correct, 2) == pytest.approx((2 * (0.8 - 2 / 3) + abs(1.8 - 5 / 3)) / 4, abs=ATOL)


def test_aurc_averages_the_error_of_the_most_confident():
    assert aurc([0.7, 0.9, 0.8], [1, 1, 0]) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3, abs=ATOL)
    assert aurc([0.5] * 4, [1, 1, 0, 0]) == pytest.approx(0.5, abs=ATOL)  # no ranking, hence the error rate
    assert aurc([0.1, 0.9], [0, 0]) == 1
    assert str(aurc([0.1, 0.9], [1, 1])) == "0.0"  # and not -0.0


@pytest.mark.parametrize("n", [3, 7, 100, 1797])
def test_aurc_is_the_mean_of_the_rates_and_at_most_one(n):
    confidence = np.random.default_rng(n).integers(0, n, n) / n  # with ties
    correct = np.random.default_rng(n).random(n) < confidence
    ranked = Ranked(confidence, correct, 15)
    for weights in (ranked.once, np.concatenate(list(resampled(np.random.default_rng(0), n, 20)))):
        rates = ranked.risk(np.arange(n), weights)
        np.testing.assert_allclose(ranked.aurc(weights), rates.mean(axis=1), atol=1e-13)
    assert 1 - 1e-12 < aurc(confidence, np.zeros(n)) <= 1


def test_classwise_ece_bins_the_probability_of_every_class_over_all_samples():
    p = [[0.7, 0.2, 0.1], [0.6, 0.4, 0.0]]
    # With one bin only the class means count; with three, class 0 and class 1 fall into two bins each.
    together = (abs(0.65 - 0.5) + abs(0.3 - 0.5) + 0.05) / 3
    apart = ((0.3 + 0.6) / 2 + (0.2 + 0.6) / 2 + 0.05) / 3
    assert classwise_ece(p, [0, 1], bins=1) == pytest.approx(together, abs=ATOL)
    assert classwise_ece(p, [0, 1], bins=3) == pytest.approx(apart, abs=ATOL)


def test_columns_hold_confidence_verdict_surprise_and_squared_distance():
    got = columns([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], [0, 1])
    assert got.confidence.tolist() == [0.5, 0.8]
    assert got.correct.tolist() == [True, False]
    assert got.nll == pytest.approx([-np.log(0.5), -np.log(0.1)])
    assert got.brier == pytest.approx([0.25 + 0.09 + 0.04, 0.01 + 0.81 + 0.64])


def test_reliability_keeps_empty_bins_empty_and_gives_the_others_an_interval():
    first, empty, last = reliability([0.1, 0.9, 0.7, 0.8], [0, 1, 0, 1], 3)
    assert (empty.low, empty.high, empty.n, empty.confidence, empty.accuracy) == (1 / 3, 2 / 3, 0, None, None)
    assert (first.n, first.confidence, first.accuracy) == (1, 0.1, proportion(0, 1))
    assert (last.n, last.accuracy) == (3, proportion(2, 3))
    assert last.confidence == pytest.approx(0.8, abs=ATOL)


# --- other libraries ----------------------------------------------------------------------------------------


def test_errors_equal_torchmetrics_where_no_confidence_is_on_an_edge():
    torch = pytest.importorskip("torch")
    metric = pytest.importorskip("torchmetrics.functional.classification").multiclass_calibration_error
    rng = np.random.default_rng(3)
    p, labels = softmax_rows(rng, 500, 4), rng.integers(4, size=500)
    got = columns(p, labels)
    for norm, error in (("l1", ece), ("max", mce)):
        theirs = metric(torch.tensor(p), torch.tensor(labels), num_classes=4, n_bins=15, norm=norm)
        assert error(got.confidence, got.correct) == pytest.approx(theirs.item(), abs=1e-6)


def test_torchmetrics_counts_confidence_one_apart_and_so_differs():
    torch = pytest.importorskip("torch")
    metric = pytest.importorskip("torchmetrics.functional.classification").multiclass_calibration_error
    p, labels = [[0.95, 0.05], [1.0, 0.0]], [0, 1]
    theirs = metric(torch.tensor(p), torch.tensor(labels), num_classes=2, n_bins=10)
    got = columns(p, labels)
    assert theirs.item() == pytest.approx(0.525, abs=1e-6)
    assert ece(got.confidence, got.correct, 10) == pytest.approx(0.475, abs=1e-6)


def test_brier_is_twice_and_nll_once_what_sklearn_says_of_two_classes():
    rng = np.random.default_rng(4)
    positive, labels = rng.uniform(0.01, 0.99, 300), rng.integers(2, size=300)
    p = np.stack([1 - positive, positive], axis=1)
    assert brier(p, labels) == pytest.approx(2 * brier_score_loss(labels, positive), abs=ATOL)
    assert nll(p, labels) == pytest.approx(log_loss(labels, p), abs=ATOL)


def test_nll_of_many_classes_equals_sklearn():
    rng = np.random.default_rng(5)
    p, labels = softmax_rows(rng, 300, 5), rng.integers(5, size=300)
    assert nll(p, labels) == pytest.approx(log_loss(labels, p, labels=range(5)), abs=1e-9)


def test_a_label_given_no_probability_costs_the_clip_and_not_infinity():
    assert nll([[1.0, 0.0]], [1]) == pytest.approx(-np.log(SMALLEST_PROBABILITY)) == pytest.approx(87.34, abs=0.01)
    assert log_loss([1], [[1.0, 0.0]], labels=[0, 1]) == pytest.approx(36.04, abs=0.01)  # clips at 2.2e-16


# --- properties ---------------------------------------------------------------------------------------------

edges = st.sampled_from([0.0, 1.0, 1 / 3, 0.2, 0.6, 1 / 15, 14 / 15, float(np.float32(0.6)), np.nextafter(1, 0)])
verdicts = st.lists(st.tuples(edges | st.floats(0, 1), st.booleans()), min_size=1, max_size=40)
bin_counts = st.integers(1, 20)


@given(verdicts, bin_counts)
def test_errors_are_ordered_fractions(pairs, bins):
    confidence, correct = zip(*pairs, strict=True)
    expected, largest = ece(confidence, correct, bins), mce(confidence, correct, bins)
    assert 0 <= expected <= largest + ATOL <= 1 + 2 * ATOL
    gap = abs(np.mean(confidence) - np.mean(correct))
    assert gap <= expected + ATOL
    assert gap <= adaptive_ece(confidence, correct, bins) + ATOL
    assert 0 <= aurc(confidence, correct) <= 1
    assert sum(bar.n for bar in reliability(confidence, correct, bins)) == len(pairs)


@given(verdicts, bin_counts, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_no_bit(pairs, bins, random):
    shuffled = random.sample(pairs, len(pairs))
    for error in (ece, mce, adaptive_ece, lambda c, r, _: aurc(c, r), reliability):
        assert error(*zip(*pairs, strict=True), bins) == error(*zip(*shuffled, strict=True), bins)


@given(st.integers(0, 2**32), st.integers(2, 6), bin_counts, st.integers(1, 30))
def test_classwise_bins_in_chunks_equal_one_go(seed, num_classes, bins, n):
    rng = np.random.default_rng(seed)
    p, labels = softmax_rows(rng, n, num_classes), rng.integers(num_classes, size=n)
    p[0] = np.eye(num_classes)[0]
    streamed = ClasswiseBins(num_classes, bins)
    for start in range(0, n, 7):
        streamed.add(p[start : start + 7], labels[start : start + 7])
    assert streamed.n == n
    assert streamed.ece() == pytest.approx(classwise_ece(p, labels, bins), abs=ATOL)
    by_class = np.mean([ece(p[:, k], labels == k, bins) for k in range(num_classes)])
    assert streamed.ece() == pytest.approx(by_class, abs=ATOL)


def test_streaming_leaves_the_probabilities_of_the_caller_alone():
    p = np.array([[0.25, 0.75]])
    ClasswiseBins(2).add(p, [1])
    assert p.tolist() == [[0.25, 0.75]]


@settings(max_examples=25)
@given(verdicts, st.randoms(use_true_random=False))
def test_a_measurement_does_not_depend_on_the_order_of_the_samples(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    first, second = (
        measure(*zip(*((c, r, 1 - c, 2 * c) for c, r in rows), strict=True), resamples=10) for rows in (pairs, shuffled)
    )
    assert first == second


# --- the whole measurement ----------------------------------------------------------------------------------


def test_measure_agrees_with_the_pure_functions():
    rng = np.random.default_rng(6)
    p, labels = softmax_rows(rng, 400, 3), rng.integers(3, size=400)
    classwise = ClasswiseBins(3)
    classwise.add(p, labels)
    got, samples = measure(*columns(p, labels), classwise, resamples=20), columns(p, labels)
    pair = samples.confidence, samples.correct
    for estimate, value in [
        (got.ece, ece(*pair)),
        (got.mce, mce(*pair)),
        (got.adaptive_ece, adaptive_ece(*pair)),
        (got.aurc, aurc(*pair)),
        (got.brier, brier(p, labels)),
        (got.nll, nll(p, labels)),
        (got.classwise_ece, classwise_ece(p, labels)),
        (got.signed_gap, samples.confidence.mean() - samples.correct.mean()),
    ]:
        assert estimate.value == pytest.approx(value, abs=ATOL)
    assert got.reliability == reliability(*pair)
    assert got.accuracy == proportion(samples.correct.sum(), 400)
    assert got.mean_confidence == pytest.approx(samples.confidence.mean(), abs=ATOL)
    assert (got.n, got.bins, got.resamples, got.seed) == (400, 15, 20, 0)
    assert (got.classwise_ece.low, got.classwise_ece.high) == (None, None)


def test_confidence_is_told_apart_for_right_and_wrong():
    got = measure([0.95, 0.9, 0.5, 0.7], [0, 0, 1, 1], np.zeros(4), np.zeros(4), resamples=2)
    assert got.confidence_when_right == pytest.approx(0.6)
    assert got.confidence_when_wrong == pytest.approx(0.925)
    assert got.confident_errors == proportion(1, 4)  # 0.9 is not above 0.9
    assert got.signed_gap.value == pytest.approx(0.7625 - 0.5)
    assert got.classwise_ece is None


def test_a_model_that_is_never_right_has_no_confidence_when_right():
    never = measure([0.8, 0.6], [0, 0], [1, 1], [1, 1], resamples=5)
    always = measure([0.8, 0.6], [1, 1], [1, 1], [1, 1], resamples=5)
    assert never.confidence_when_right is None
    assert always.confidence_when_wrong is None


def test_bootstrap_resamples_give_the_value_on_the_resampled_data(monkeypatch):
    rng = np.random.default_rng(7)
    confidence, correct = np.round(rng.random(60), 1), rng.random(60) < 0.6
    seen = []

    def one_resample(statistic, n, resamples, seed):
        counts = np.bincount(rng.integers(n, size=n), minlength=n)
        seen.append(counts)
        (value,) = statistic(counts[None])
        return value, value

    monkeypatch.setattr("robustkit.maths.calibration.bootstrap", one_resample)
    got = measure(confidence, correct, np.zeros(60), confidence, resamples=1)
    order = np.lexsort((correct, confidence))
    drawn = np.repeat(order, seen[0])
    pair = confidence[drawn], correct[drawn]
    assert got.ece.low == pytest.approx(ece(*pair), abs=ATOL)
    assert got.mce.low == pytest.approx(mce(*pair), abs=ATOL)
    assert got.adaptive_ece.low == pytest.approx(adaptive_ece(*pair), abs=ATOL)
    assert got.aurc.low == pytest.approx(aurc(*pair), abs=ATOL)
    assert got.brier.low == pytest.approx(pair[0].mean(), abs=ATOL)


def test_intervals_answer_to_their_seed():
    data = calibrated_columns(np.random.default_rng(8), 200)
    assert measure(*data, resamples=50, seed=1) == measure(*data, resamples=50, seed=1)
    first, second = measure(*data, resamples=50, seed=1), measure(*data, resamples=50, seed=2)
    assert first.ece.value == second.ece.value
    assert first.ece.low != second.ece.low
    assert first.ece_if_calibrated.mean != second.ece_if_calibrated.mean


def test_bootstrap_intervals_cover_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(9)
    shift, runs = 0.2, 100
    covered = np.zeros(2)
    # E[2 (1 - p_y)^2] over confidence c ~ U(0.6, 1) with accuracy c - shift, by the midpoint rule
    c = 0.6 + 0.4 * (np.arange(100_000) + 0.5) / 100_000
    true_brier = np.mean(2 * (1 - c) ** 2 * (c - shift) + 2 * c**2 * (1 - c + shift))
    for _ in range(runs):
        got = measure(*calibrated_columns(rng, 300, shift), resamples=199)
        covered += [e.low <= t <= e.high for e, t in ((got.signed_gap, shift), (got.brier, true_brier))]
    assert np.all((covered / runs > 0.9) & (covered / runs < 0.99))


# --- what a calibrated model shows --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "published"),
    [(100, 0.115), (200, 0.083), (500, 0.052), (1000, 0.037), (5000, 0.017), (10000, 0.012)],
)
def test_a_calibrated_model_shows_the_known_ece_of_its_sample_size(n, published):
    # Confidences drawn from Beta(2, 1), mean 2 / 3, reproduce the six figures; uniform ones lie 4 % higher.
    confidence = np.random.default_rng(10).beta(2, 1, n)
    got = measure(confidence, np.ones(n), np.zeros(n), np.zeros(n), resamples=300)
    assert got.ece_if_calibrated.mean == pytest.approx(published, rel=0.06)
    assert got.ece_if_calibrated.low < published < got.ece_if_calibrated.high


def test_calibrated_models_get_evenly_spread_p_values():
    rng = np.random.default_rng(11)
    p_values = [measure(*calibrated_columns(rng, 200), resamples=99).ece_if_calibrated.p_value for _ in range(100)]
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.06)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.08)


def test_an_over_confident_model_is_no_accident():
    got = measure(*calibrated_columns(np.random.default_rng(12), 500, shift=0.2), resamples=999)
    assert got.ece_if_calibrated.p_value == 1 / 1000
    assert got.signed_gap.low > 0.1
    assert got.ece.value > got.ece_if_calibrated.high


def test_an_ece_equal_to_every_redraw_is_not_evidence_whatever_its_rounding():
    # All redraws of certain answers are right, so every null ECE is 0, and so is the observed one.
    assert measure(np.ones(5), np.ones(5), np.zeros(5), np.zeros(5), resamples=9).ece_if_calibrated.p_value == 1
    # Seven of ten right at 0.7 is the smallest ECE there can be; its rounded sum must not hide that.
    verdicts = np.arange(10) < 7
    got = measure(np.full(10, 0.7), verdicts, np.zeros(10), np.zeros(10), resamples=99)
    assert got.ece_if_calibrated.p_value == 1


# --- plain data, speed and messages -------------------------------------------------------------------------


def plain(value):
    if isinstance(value, dict):
        return all(plain(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return all(plain(v) for v in value)
    return value is None or type(value) in (int, float)


@pytest.mark.parametrize("n", [1, 50])
def test_a_calibration_is_plain_finite_data(n):
    got = measure(*calibrated_columns(np.random.default_rng(13), n), resamples=10)
    assert plain(dataclasses.asdict(got))
    assert json.loads(json.dumps(dataclasses.asdict(got), allow_nan=False))["n"] == n


def test_a_calibration_comes_back_from_json_unchanged():
    adapter = pytest.importorskip("pydantic").TypeAdapter(type(got := measure([0.9], [1], [0.1], [0.02], resamples=5)))
    assert adapter.validate_json(adapter.dump_json(got)) == got


def test_ten_thousand_samples_take_seconds_not_minutes():
    data = calibrated_columns(np.random.default_rng(14), 10_000)
    start = time.process_time()
    measure(*data)
    assert time.process_time() - start < 3


def test_float16_probabilities_and_float32_rounding_are_taken_as_they_are():
    p = softmax_rows(np.random.default_rng(15), 20, 10).astype(np.float16)
    assert 0 < classwise_ece(p, np.zeros(20, int)) < 1
    assert ece([1 + 1e-7], [1]) == 0


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([0.5, 1.2], [1, 0], "expected finite confidence from 0 to 1, got 1.2 at sample 1;"),
        ([-0.1], [1], "expected finite confidence from 0 to 1, got -0.1 at sample 0;"),
        ([0.5, float("nan")], [1, 0], "expected finite confidence from 0 to 1, got nan at sample 1;"),
        ([0.5, 0.6], [1], "expected columns of one length, got 2, 1;"),
        ([[0.5, 0.6]], [1, 0], r"expected confidence of shape \(n,\), got \(1, 2\);"),
        ([0.5], [0.5], "expected correct of 0 and 1, got fractions;"),
        ([], [], "expected at least 1 sample, got 0;"),
    ],
)
def test_confidences_and_verdicts_that_mean_nothing_are_refused(confidence, correct, message):
    for error in (ece, mce, adaptive_ece, aurc, reliability):
        with pytest.raises(InvalidEvaluation, match=f"^calibration: {message}") as caught:
            error(confidence, correct)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("p", "labels", "message"),
    [
        ([[0.5, 0.6]], [0], "expected probabilities that add up to 1, got 1.1 at sample 0;"),
        ([[0.5, 0.5], [-3.0, 4.0]], [0, 0], "expected finite probabilities from 0 to 1, got -3 at sample 1;"),
        ([[0.5, float("nan")]], [0], "expected finite probabilities from 0 to 1, got nan at sample 0;"),
        ([[0.5, 0.5]], [2], "expected integer labels from 0 to 1, got int64 from 2 to 2;"),
        ([[0.5, 0.5]], [0.0], "expected integer labels from 0 to 1, got float64 from 0.0 to 0.0;"),
        (
            [[0.5, 0.5]],
            [0, 1],
            r"expected probabilities \(n, K\) and labels \(n,\), got \(1, 2\) and \(2,\);",
        ),
        ([0.5, 0.5], [0, 1], r"expected probabilities \(n, K\) and labels \(n,\), got \(2,\) and \(2,\);"),
        (np.zeros((0, 3)), np.zeros(0, int), "expected at least 1 sample, got 0;"),
    ],
)
def test_probabilities_and_labels_that_mean_nothing_are_refused(p, labels, message):
    for score in (columns, brier, nll, classwise_ece):
        with pytest.raises(InvalidEvaluation, match=f"^calibration: {message}") as caught:
            score(p, labels)
        assert "\n" not in str(caught.value)


def test_scores_that_are_not_finite_or_of_another_length_are_refused():
    with pytest.raises(InvalidEvaluation, match="expected finite nll from 0 to inf, got inf at sample 0;"):
        measure([0.5], [1], [np.inf], [0.0])
    with pytest.raises(InvalidEvaluation, match=r"expected finite brier from 0 to 2, got 2\.5 at sample 0;"):
        measure([0.5], [1], [1.0], [2.5])
    with pytest.raises(InvalidEvaluation, match="expected columns of one length, got 1, 1, 2, 1;"):
        measure([0.5], [1], [1.0, 2.0], [0.0])
    with pytest.raises(InvalidEvaluation, match="expected at least 1 sample, got 0;"):
        measure([], [], [], [])


def test_classwise_bins_of_other_samples_or_classes_are_refused():
    bins = ClasswiseBins(3)
    with pytest.raises(InvalidEvaluation, match="expected at least 1 sample, got 0;"):
        bins.ece()
    with pytest.raises(InvalidEvaluation, match="expected 3 columns, got 2;"):
        bins.add([[0.5, 0.5]], [0])
    with pytest.raises(InvalidEvaluation, match="expected classwise n = 1 and bins = 15, got n = 0 and bins = 15;"):
        measure([0.5], [1], [1.0], [0.0], bins)


def test_settings_that_leave_no_bin_no_class_and_no_resample_are_refused():
    with pytest.raises(ConfigurationError, match="expected bins to be an integer >= 1, got 0;"):
        ece([0.5], [1], bins=0)
    with pytest.raises(ConfigurationError, match="expected bins to be an integer >= 1, got -1;"):
        ClasswiseBins(2, bins=-1)
    with pytest.raises(ConfigurationError, match="expected at least 2 classes, got 1;"):
        ClasswiseBins(1)
    with pytest.raises(ConfigurationError, match="expected resamples to be an integer >= 1, got 0;"):
        measure([0.5], [1], [1.0], [0.0], resamples=0)
