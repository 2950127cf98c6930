"""Evaluation under shift: the sums by hand, published files, and the spatial grid."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, images, linear
from torch import nn

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.dataset import batches
from robustkit.maths.calibration import Estimate, columns, measure
from robustkit.model.classifier import Classifier
from robustkit.shift.corruptions import CORRUPTIONS, corrupt
from robustkit.shift.evaluate import ALEXNET, Baseline, Cell, Shift, evaluate_shift
from robustkit.shift.published_sets import load_corrupted
from robustkit.shift.rotation import spatial_grid


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


@pytest.fixture(scope="module")
def small() -> Shift:
    return evaluate_shift(digits_cnn(), digits(60), ["contrast", "gaussian_noise"], (1, 5), batch_size=25)


def test_sums_are_those_of_the_paper(by_hand):
    base = Baseline("base", 0.1, {"fog": (0.2, 9, 9, 9, 0.2), "snow": (0.5, 9, 9, 9, 0.7)})
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


@pytest.fixture
def published(tmp_path):
    """A folder as CIFAR-10-C is laid out: 30 digits under JPEG, in colour, five severities, all labels."""
    x, y = digits(30)
    x = x.repeat(1, 3, 1, 1)
    stacked = torch.cat([corrupt(x, "jpeg_compression", s, torch.arange(30)) for s in range(1, 6)])
    np.save(tmp_path / "jpeg_compression.npy", (stacked * 255).round().byte().movedim(1, -1).numpy())
    np.save(tmp_path / "labels.npy", y.repeat(5).byte().numpy())
    return tmp_path


def colour_net() -> nn.Module:
    class First(nn.Module):
        def forward(self, x):
            return x[:, :1]

    return nn.Sequential(First(), digits_cnn())


def test_published_files_are_read_severity_by_severity(published):
    (batch,) = batches(load_corrupted(published, "jpeg_compression", 4), 100)
    x, y = digits(30)
    expected = corrupt(x.repeat(1, 3, 1, 1), "jpeg_compression", 4, torch.arange(30))
    torch.testing.assert_close(batch.x, expected)
    assert batch.y.equal(y)
    assert batch.ids.equal(torch.arange(30))
    source = load_corrupted(published, "jpeg_compression", 4).source
    assert isinstance(source._images, np.memmap)
    np.save(published / "labels.npy", y.numpy())  # once instead of five times
    assert next(iter(batches(load_corrupted(published, "jpeg_compression", 5), 100))).y.equal(y)


def test_published_images_give_the_figures_of_the_same_images_made_here(published):
    x, y = digits(30)
    data = (x.repeat(1, 3, 1, 1), y)
    read = evaluate_shift(colour_net(), data, ["jpeg_compression"], folder=published, batch_size=7)
    made = evaluate_shift(colour_net(), data, ["jpeg_compression"])
    assert [c.accuracy for c in read.cells] == [c.accuracy for c in made.cells]
    assert [c.calibration.nll.value for c in read.cells] == pytest.approx([c.calibration.nll.value for c in made.cells])
    assert read.source == str(published)


def test_published_images_of_other_samples_are_refused(published):
    x, y = digits(30)
    with pytest.raises(InvalidEvaluation, match="other labels for jpeg_compression"):
        evaluate_shift(colour_net(), (x.repeat(1, 3, 1, 1), y.flip(0)), ["jpeg_compression"], (1,), folder=published)
    x, y = digits(40)
    with pytest.raises(InvalidEvaluation, match=r"expected 40 images of jpeg_compression .* got 30"):
        evaluate_shift(colour_net(), (x.repeat(1, 3, 1, 1), y), ["jpeg_compression"], (1,), folder=published)


def test_published_files_that_are_wrong_are_named(published):
    with pytest.raises(ConfigurationError, match="did you mean 'jpeg_compression'"):
        load_corrupted(published, "jpg_compression", 1)
    with pytest.raises(ConfigurationError, match="severity from 1 to 5, got 6"):
        load_corrupted(published, "jpeg_compression", 6)
    (published / "fog.npy").write_bytes(b"no array")
    with pytest.raises(ConfigurationError, match=r"fog.npy': expected a .npy array"):
        load_corrupted(published, "fog", 1)
    np.save(published / "snow.npy", np.zeros((12, 8, 8, 3), np.uint8))
    with pytest.raises(ConfigurationError, match=r"stacked by severity, got uint8 of shape \(12, 8, 8, 3\)"):
        load_corrupted(published, "snow", 1)
    np.save(published / "labels.npy", np.zeros(7, np.uint8))
    with pytest.raises(ConfigurationError, match=r"expected 150 labels or 30, got shape \(7,\)"):
        load_corrupted(published, "jpeg_compression", 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"corruptions": ["frogs"]}, "did you mean 'frost'"),
        ({"corruptions": []}, "at least one corruption"),
        ({"severities": (0, 1)}, "severities from 1 to 5"),
        ({"classifier": Classifier(digits_cnn(), bounds=(-1, 1))}, "inputs in 0..1"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, words):
    with pytest.raises(ConfigurationError) as caught:
        evaluate_shift(**{"classifier": digits_cnn(), "data": digits(10), **change})
    assert words in str(caught.value)


def test_a_baseline_without_the_corruption_is_refused(small):
    with pytest.raises(ConfigurationError, match="five errors of 'thin' under contrast, got 0"):
        small.mce(Baseline("thin", 0.1, {"fog": (0.1,) * 5}))
    with pytest.raises(InvalidEvaluation, match="a baseline that contrast harms"):
        small.relative_mce(Baseline("odd", 0.5, dict.fromkeys(CORRUPTIONS, (0.5,) * 5)))


def pixel(row: int, column: int, side: int = 6) -> nn.Module:
    """Returns a model that says class 1 where one pixel is brighter than a half."""
    weight = torch.zeros(2, side * side, dtype=torch.float64)
    weight[1, row * side + column] = 1
    return linear(weight, torch.tensor([0.5, 0.0], dtype=torch.float64))


def test_rotation_by_a_right_angle_and_shift_by_a_pixel_are_exact():
    x = images(3)
    y = torch.ones(3, dtype=torch.int64)
    # The only way to see anything at the corner is the transformation that is asked for.
    turned = spatial_grid(pixel(0, 0), x, y, 90, 0, rotations=2)
    for row in range(3):
        quarter = int(turned.degrees[row] / 90)
        torch.testing.assert_close(turned.x_adv[row], torch.rot90(x[row], quarter, (1, 2)), atol=1e-6, rtol=0)
    moved = spatial_grid(pixel(0, 0), torch.ones_like(x), y, 0, 2, shifts=3)
    assert moved.tried == 9
    assert moved.success.all()
    down, right = moved.shift[0].tolist()
    expected = torch.zeros(6, 6, dtype=torch.float64)
    expected[max(0, int(down)) : 6 + min(0, int(down)), max(0, int(right)) : 6 + min(0, int(right))] = 1
    torch.testing.assert_close(moved.x_adv[0, 0], expected, atol=1e-9, rtol=0)


def test_the_worst_of_the_grid_is_found_whatever_the_batch_size():
    x, y = digits(40)
    found = spatial_grid(digits_cnn(), x, y, 30, 1, rotations=5, shifts=3)
    assert found.tried == 45
    with torch.no_grad():
        scores = digits_cnn()(found.x_adv)
    own = scores.gather(1, y[:, None])[:, 0]
    other = scores.scatter(1, y[:, None], -torch.inf).amax(1)
    torch.testing.assert_close(own - other, found.margin, atol=1e-3, rtol=1e-3)
    assert 0 < found.success.sum() <= found.clean.sum()
    less = spatial_grid(digits_cnn(), x, y, 30, 1, rotations=5, shifts=3, batch_size=7)
    torch.testing.assert_close(less.margin, found.margin, atol=1e-4, rtol=1e-4)
    part = spatial_grid(digits_cnn(), x, y, 30, 1, rotations=3, shifts=1)
    assert (part.margin >= found.margin - 1e-4).all()


def test_a_grid_of_one_point_returns_the_image_bit_for_bit():
    x, y = digits(10)
    found = spatial_grid(digits_cnn(), x, y, 0, 0)
    assert found.tried == 1
    assert found.x_adv.equal(x)
    assert not found.success.any()


def test_what_comes_in_from_outside_is_the_lowest_value():
    model = Classifier(pixel(0, 0), bounds=(-1.0, 1.0))
    found = spatial_grid(model, torch.ones(1, 1, 6, 6, dtype=torch.float64), torch.tensor([1]), 0, 1, shifts=3)
    assert float(found.x_adv.min()) == -1
    assert bool(found.success)


def test_grids_that_cannot_be_meant_are_refused():
    x, y = digits(4)
    with pytest.raises(ConfigurationError, match=r"max_degrees in 0\.\.180"):
        spatial_grid(digits_cnn(), x, y, -1)
    with pytest.raises(InvalidEvaluation, match=r"images \(N, C, H, W\)"):
        spatial_grid(digits_cnn(), x.flatten(1), y)
    with pytest.raises(InvalidEvaluation, match="one label per image, got 3 for 4"):
        spatial_grid(digits_cnn(), x, y[:3])
