"""Preprocessing defences: what they do to an image, and that attacks see through them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, generator, robust_accuracy
from scipy.ndimage import median_filter
from torch import nn

from robustkit.attacks import PGD
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.defenses.logits import Logits
from robustkit.defenses.preprocess import JPEG, PREPROCESSORS, BitDepth, MedianBlur
from robustkit.model.classifier import Classifier


def pictures(channels: int = 3, side: int = 16) -> torch.Tensor:
    return torch.rand(4, channels, side, side, generator=generator())


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_loses_more_the_lower_its_quality_and_keeps_the_channels_apart(channels):
    x = torch.linspace(0, 1, 16).view(1, 1, 1, 16) * torch.linspace(1, 0.2, channels).view(1, -1, 1, 1)
    x = x.expand(2, channels, 16, 16)
    losses = [float((JPEG(quality)(x) - x).abs().mean()) for quality in (5, 50, 100)]
    assert losses[0] > losses[1] > losses[2] > 0
    assert losses[2] < 0.01


def test_jpeg_rounds_to_grey_levels_and_treats_images_one_by_one():
    x = pictures(3)
    levels = JPEG(60)(x) * 255
    torch.testing.assert_close(levels, levels.round())
    assert torch.equal(JPEG(60)(x)[2:3], JPEG(60)(x[2:3]))


def test_bit_depth_leaves_so_many_levels():
    x = torch.linspace(0, 1, 101).view(1, 1, 101)
    assert BitDepth(1)(x).unique().tolist() == [0, 1]
    assert len(BitDepth(3)(x).unique()) == 8
    grid = torch.arange(256).view(1, 1, 256) / 255
    torch.testing.assert_close(BitDepth(8)(grid), grid)


@pytest.mark.parametrize("size", [3, 5])
def test_median_blur_is_scipys(size):
    x = pictures()
    expected = median_filter(x.numpy(), size=(1, 1, size, size), mode="mirror")
    np.testing.assert_array_equal(MedianBlur(size)(x).numpy(), expected)


@pytest.mark.parametrize("name", ["jpeg", "bit-depth"])
def test_gradient_is_that_of_the_identity(name):
    x = pictures().requires_grad_()
    weight = pictures()
    (PREPROCESSORS[name]()(x) * weight).sum().backward()
    assert torch.equal(x.grad, weight)


def test_gradient_of_median_blur_is_that_of_the_mean():
    x = pictures(1).requires_grad_()
    MedianBlur()(x)[:, :, 8, 8].sum().backward()
    assert x.grad[0, 0, 7:10, 7:10].flatten().tolist() == pytest.approx([1 / 9] * 9)
    assert float(x.grad[0].sum()) == pytest.approx(1)


class Hidden(nn.Module):
    """The same operation without a declared substitute."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x).detach() + 0 * x


@pytest.mark.parametrize("defence", [JPEG(50), BitDepth(2), MedianBlur()], ids=lambda d: type(d).__name__)
def test_attacks_see_through_the_defence(defence):
    x, y = digits(40)
    net = nn.Sequential(defence, digits_cnn())
    attack = PGD(eps=0.3, steps=5)
    seen = robust_accuracy(attack, net, x, y)
    with torch.no_grad():
        clean = float((net(x).argmax(1) == y).double().mean())
    blind = robust_accuracy(attack, nn.Sequential(Hidden(defence), digits_cnn()), x, y)
    assert seen <= 0.4 * clean
    assert blind > seen


def test_a_defence_stands_before_the_normalisation():
    net = nn.Conv2d(3, 2, 16)
    classifier = Classifier(nn.Sequential(net, nn.Flatten()), mean=0.5, std=0.25)
    x = pictures()
    found = nn.Sequential(BitDepth(2), Logits(classifier))(x)
    torch.testing.assert_close(found, net((BitDepth(2)(x) - 0.5) / 0.25).flatten(1))


def test_a_copy_of_a_defence_is_a_defence_of_its_own():
    blur = copy.deepcopy(MedianBlur())
    assert torch.equal(blur(pictures()), MedianBlur()(pictures()))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: JPEG(0), ConfigurationError, "expected quality to be an integer in 1..100"),
        (lambda: BitDepth(9), ConfigurationError, "expected bits to be an integer in 1..8"),
        (lambda: MedianBlur(4), ConfigurationError, "expected an odd size, got 4; try 5"),
        (lambda: JPEG()(torch.rand(2, 5, 8, 8)), InvalidEvaluation, "1 or 3"),
        (lambda: MedianBlur()(torch.rand(2, 8)), InvalidEvaluation, r"expected images \(N, C, H, W\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_the_square_of_a_median_fits_into_the_image():
    assert MedianBlur(3)(torch.zeros(1, 1, 2, 2)).shape == (1, 1, 2, 2)
    with pytest.raises(InvalidEvaluation, match="larger than 1 pixels"):
        MedianBlur(3)(torch.zeros(1, 1, 1, 5))
