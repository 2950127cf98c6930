"""Where mean and std are applied."""

from __future__ import annotations

import pytest
import torch

from robustkit.base.errors import ConfigurationError
from robustkit.model.classifier import Classifier
from robustkit.model.normalization import constants, normalized

X = torch.arange(24, dtype=torch.float64).view(2, 3, 2, 2) / 24
CPU = torch.device("cpu")


def test_one_number_per_channel_belongs_to_axis_one():
    mean, std = constants([0.1, 0.2, 0.3], [1, 2, 4], X.dtype, CPU)
    by_hand = torch.stack([(X[:, c] - m) / s for c, (m, s) in enumerate(((0.1, 1), (0.2, 2), (0.3, 4)))], dim=1)
    assert normalized(X, mean, std).equal(by_hand)


def test_without_constants_the_input_is_passed_on_as_it_is():
    assert normalized(X, *constants(None, None, X.dtype, CPU)) is X


def test_mean_comes_before_std():
    assert normalized(X, *constants(0.5, 0.25, X.dtype, CPU)).equal((X - 0.5) / 0.25)


def test_a_constant_may_have_the_shape_of_an_input():
    mean = torch.rand(1, 3, 2, 2, dtype=X.dtype)
    assert normalized(X, *constants(mean, None, X.dtype, CPU)).equal(X - mean)


@pytest.mark.parametrize("mean", [[0.1, 0.2], torch.zeros(5, 3, 2, 2), torch.zeros(1, 1, 3, 2, 2)])
def test_a_constant_that_does_not_fit_is_refused(mean):
    with pytest.raises(ConfigurationError, match=r"one number per channel of inputs \(2, 3, 2, 2\)"):
        normalized(X, *constants(mean, None, X.dtype, CPU))


@pytest.mark.parametrize("std", [0, -1.0, [0.1, 0.0]])
def test_std_must_be_positive(std):
    with pytest.raises(ConfigurationError, match="expected std > 0"):
        constants(None, std, X.dtype, CPU)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((2, 3), 1),
        ((2, 3, 7), 1),
        ((2, 7, 3), 2),
        ((2, 3, 3, 3), 1),  # images as small as they have channels
        ((2, 4, 5, 3), 3),  # channels last
        ((2, 8, 3, 4, 5), 2),  # films, frame by frame
        ((2, 3, 8, 4, 5), 1),
        ((2, 8, 4, 5, 3), 4),
    ],
)
def test_one_number_per_channel_belongs_to_the_axis_of_that_length(shape, axis):
    x = torch.rand(shape, dtype=X.dtype)
    mean, std = constants([0.1, 0.2, 0.3], [1, 2, 4], X.dtype, CPU)
    found = normalized(x, mean, std)
    for c, (m, s) in enumerate(((0.1, 1), (0.2, 2), (0.3, 4))):
        assert found.select(axis, c).equal((x.select(axis, c) - m) / s)


@pytest.mark.parametrize(
    ("shape", "fitting"),
    [
        ((2, 3, 3), r"\(3, 1\) or \(3,\)"),
        ((2, 3, 3, 8, 8), r"\(3, 1, 1, 1\) or \(3, 1, 1\)"),
        ((2, 1, 3, 3), r"\(3, 1\) or \(3,\)"),
    ],
)
def test_where_several_axes_could_be_meant_the_tensor_to_give_is_named(shape, fitting):
    mean, std = constants([0.1, 0.2, 0.3], None, X.dtype, CPU)
    with pytest.raises(ConfigurationError, match=f"a tensor that broadcasts, of shape {fitting}"):
        normalized(torch.rand(shape, dtype=X.dtype), mean, std)


@pytest.mark.parametrize("shape", [(2, 1, 3, 8), (2, 8, 4, 3, 5)])
def test_height_is_no_axis_of_channels(shape):
    mean, std = constants([0.1, 0.2, 0.3], None, X.dtype, CPU)
    with pytest.raises(ConfigurationError, match="one number per channel"):
        normalized(torch.rand(shape, dtype=X.dtype), mean, std)


def test_a_list_of_one_number_is_meant_for_all_channels():
    mean, std = constants([0.5], [0.25], X.dtype, CPU)
    assert normalized(X, mean, std).equal((X - 0.5) / 0.25)


@pytest.mark.parametrize(
    ("bounds", "mean", "std", "message"),
    [
        (
            (0, 1),
            [123.675, 116.28, 103.53],
            [58.395, 57.12, 57.375],
            "divide them by 255: mean 0.485,0.456,0.406 and std",
        ),
        ((0, 1), None, 255.0, "divide them by 255: std 1"),
        ((0, 1), 33.3, None, "divide them by 255: mean 0.1306"),
        ((0, 255), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], "multiply them by 255, .*: mean 123.7,116.3,103.5"),
    ],
)
def test_mean_and_std_in_other_units_than_the_inputs_are_refused_with_the_right_values(bounds, mean, std, message):
    with pytest.raises(ConfigurationError, match=message):
        Classifier(torch.nn.Identity(), bounds=bounds, mean=mean, std=std)


@pytest.mark.parametrize(
    ("bounds", "mean", "std"),
    [((0, 1), [0.485, 1.0], [0.2, 2.0]), ((0, 255), 123.7, 58.4), ((0, 255), 0.0, 255.0), ((-3, 3), 1.5, 0.5)],
)
def test_mean_and_std_in_the_units_of_the_inputs_are_taken(bounds, mean, std):
    Classifier(torch.nn.Identity(), bounds=bounds, mean=mean, std=std)
