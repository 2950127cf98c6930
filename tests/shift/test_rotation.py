"""The worst rotation and translation on a grid."""

from __future__ import annotations

import pytest
import torch
from nets import digits, digits_cnn, images, linear
from torch import nn

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.model.classifier import Classifier
from robustkit.shift.rotation import spatial_grid


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
    with pytest.raises(ConfigurationError, match=r"max_degrees in \[0, 180\]"):
        spatial_grid(digits_cnn(), x, y, -1)
    with pytest.raises(InvalidEvaluation, match=r"images \(N, C, H, W\)"):
        spatial_grid(digits_cnn(), x.flatten(1), y)
    with pytest.raises(InvalidEvaluation, match="one label per image, got 3 for 4"):
        spatial_grid(digits_cnn(), x, y[:3])
