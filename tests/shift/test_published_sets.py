"""Corrupted images as they are published, read without loading them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn
from torch import nn

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.dataset import batches
from robustkit.shift.corruptions import corrupt
from robustkit.shift.evaluate import evaluate_shift
from robustkit.shift.published_sets import load_corrupted


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
    with pytest.raises(ConfigurationError, match="severity to be an integer in 1"):
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
