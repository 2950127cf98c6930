"""Evaluation under shift: the cells are those of the corrupted images, whatever the batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn

from robustkit.base.errors import ConfigurationError
from robustkit.maths.calibration import columns, measure
from robustkit.model.classifier import Classifier
from robustkit.shift.corruptions import corrupt
from robustkit.shift.evaluate import evaluate_shift
from robustkit.shift.result import Shift


@pytest.fixture(scope="module")
def small() -> Shift:
    return evaluate_shift(digits_cnn(), digits(60), ["contrast", "gaussian_noise"], (1, 5), batch_size=25)


def test_cells_are_accuracy_and_calibration_of_corrupted_images(small):
    x, y = digits(60)
    seen = corrupt(x, "gaussian_noise", 5, torch.arange(60))
    with torch.no_grad():
        p = digits_cnn()(seen).double().softmax(1).numpy()
    expected = measure(*columns(p, y.numpy()), resamples=200)
    found = small.by_name["gaussian_noise", 5].calibration
    assert found.accuracy == expected.accuracy
    assert found.ece.value == pytest.approx(expected.ece.value, abs=1e-6)
    assert small.corruptions == ("contrast", "gaussian_noise")
    assert small.severities == (1, 5)
    assert small.clean.accuracy.k >= small.by_name["contrast", 5].accuracy.k


def test_mean_accuracy_is_that_of_the_cells_and_its_interval_holds_it(small):
    by_cell = [1 - c.error for c in small.cells]
    assert small.mean_accuracy.value == pytest.approx(np.mean(by_cell))
    assert small.mean_accuracy.low < small.mean_accuracy.value < small.mean_accuracy.high


def test_batch_size_and_order_do_not_matter(small):
    x, y = digits(60)
    turned = evaluate_shift(
        digits_cnn(), (x.flip(0), y.flip(0), torch.arange(60).flip(0)), ["contrast", "gaussian_noise"], (5, 1)
    )
    assert [c.accuracy for c in turned.cells] == [c.accuracy for c in small.cells]
    assert [c.calibration.ece.value for c in turned.cells] == pytest.approx(
        [c.calibration.ece.value for c in small.cells], abs=1e-6
    )


def test_limit_and_progress_count_samples():
    told = []
    found = evaluate_shift(
        digits_cnn(), digits(30), ["fog"], (2,), limit=20, batch_size=8, progress=lambda *step: told.append(step)
    )
    assert found.clean.accuracy.n == 20
    assert sum(rows for name, rows in told if name == "fog") == 20
    assert sum(rows for name, rows in told if name == "clean") == 20


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"corruptions": ["frogs"]}, "did you mean 'frost'"),
        ({"corruptions": []}, "at least one corruption"),
        ({"severities": (0, 1)}, "every severity to be an integer in 1..5"),
        ({"classifier": Classifier(digits_cnn(), bounds=(-1, 1))}, "inputs in 0..1"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, words):
    with pytest.raises(ConfigurationError) as caught:
        evaluate_shift(**{"classifier": digits_cnn(), "data": digits(10), **change})
    assert words in str(caught.value)
