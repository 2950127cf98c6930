"""The figures under shift: the sums by hand, mCE against its baseline, and every cell as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from nets import digits, digits_cnn

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.maths.calibration import Estimate, columns, measure
from robustkit.shift.corruptions import CORRUPTIONS
from robustkit.shift.evaluate import evaluate_shift
from robustkit.shift.result import ALEXNET, Baseline, Cell, Shift


@pytest.fixture(scope="module")
def small() -> Shift:
    return evaluate_shift(digits_cnn(), digits(60), ["contrast", "gaussian_noise"], (1, 5), batch_size=25)


def cell(name: str, severity: int, wrong: int, n: int = 10) -> Cell:
    """Returns a cell with `wrong` of `n` samples wrong."""
    p = np.tile([0.7, 0.3], (n, 1))
    return Cell(name, severity, measure(*columns(p, (np.arange(n) < wrong).astype(int)), resamples=1))


@pytest.fixture
def by_hand() -> Shift:
    """Errors 0.1 clean, fog 0.2 and 0.4, snow 0.3 and 0.6 at severities 1 and 5."""
    wrong = {("fog", 1): 2, ("fog", 5): 4, ("snow", 1): 3, ("snow", 5): 6}
    cells = tuple(cell(*key, count) for key, count in wrong.items())
    return Shift(cell("clean", 0, 1), cells, Estimate(0.625), "by hand", 0)


def test_sums_are_those_of_the_paper(by_hand):
    base = Baseline("base", 0.1, {"fog": (0.2, 0.9, 0.9, 0.9, 0.2), "snow": (0.5, 0.9, 0.9, 0.9, 0.7)})
    assert by_hand.accuracy("fog") == pytest.approx(0.7)
    assert by_hand.mean_error == pytest.approx(0.375)
    assert by_hand.corruption_error("fog", base) == pytest.approx(0.6 / 0.4)
    assert by_hand.mce(base) == pytest.approx((0.6 / 0.4 + 0.9 / 1.2) / 2)
    assert by_hand.relative_mce(base) == pytest.approx((0.4 / 0.2 + 0.7 / 1.0) / 2)


def test_the_baseline_itself_has_mce_one():
    thousand = {key: round(1000 * error) for key in CORRUPTIONS for error in ALEXNET.errors[key][:1]}
    cells = tuple(cell(name, 1, wrong, 1000) for name, wrong in thousand.items())
    found = Shift(cell("clean", 0, 435, 1000), cells, Estimate(0.3), "by hand", 0)
    assert found.mce() == pytest.approx(1, abs=1e-3)
    assert found.relative_mce() == pytest.approx(1, abs=5e-3)


def test_alexnet_is_recorded_for_every_corruption():
    assert list(ALEXNET.errors) == list(CORRUPTIONS)
    # The mean errors that RobustBench-like tables divide by.
    assert np.mean(ALEXNET.errors["gaussian_noise"]) == pytest.approx(0.886428)
    assert np.mean(ALEXNET.errors["motion_blur"]) == pytest.approx(0.785948)


def test_json_and_csv_hold_every_cell(small):
    base = Baseline("mine", 0.01, dict.fromkeys(CORRUPTIONS, (0.5,) * 5))
    plain = json.loads(small.to_json(base))
    assert plain["mce"] == pytest.approx(small.mce(base))
    assert plain["baseline"] == "mine"
    assert plain["by_corruption"]["contrast"]["accuracy"] == pytest.approx(small.accuracy("contrast"))
    assert "mce" not in small.to_dict()
    rows = list(csv.DictReader(io.StringIO(small.to_csv())))
    assert [(row["corruption"], int(row["severity"])) for row in rows[:3]] == [
        ("clean", 0),
        ("contrast", 1),
        ("contrast", 5),
    ]
    assert [float(row["ece"]) for row in rows[1:]] == [c["ece"] for c in plain["cells"]]


def test_a_baseline_without_the_corruption_is_refused(small):
    with pytest.raises(ConfigurationError, match="five errors of 'thin' under contrast, got 0"):
        small.mce(Baseline("thin", 0.1, {"fog": (0.1,) * 5}))
    with pytest.raises(InvalidEvaluation, match="a baseline that contrast harms"):
        small.relative_mce(Baseline("odd", 0.5, dict.fromkeys(CORRUPTIONS, (0.5,) * 5)))
