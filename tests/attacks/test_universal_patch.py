"""One printed patch: where it lies, what it depends on, and that it beats noise in its place."""

from __future__ import annotations

import pytest
import torch
from nets import digits, digits_cnn, generator

from robustkit.attacks import universal_patch
from robustkit.attacks.printed_patch import Placing
from robustkit.base.errors import ConfigurationError, InvalidEvaluation

X, Y = digits(80)


def test_upright_in_the_middle_it_covers_its_square_pixel_by_pixel():
    x, patch = torch.zeros(2, 1, 8, 10), 0.1 + torch.rand(1, 4, 4, generator=generator())
    laid = Placing((0.5, 0.5), 0).on(x, patch, torch.full((2, 4), 0.5))
    torch.testing.assert_close(laid[0, :, 2:6, 3:7], patch)
    assert int((laid != 0).sum()) == 32


def test_in_a_corner_it_stays_inside_and_a_quarter_turn_turns_it():
    x, patch = torch.zeros(2, 1, 8, 8), 0.1 + torch.rand(1, 4, 4, generator=generator())
    u = torch.tensor([[0.5, 0.5, 1.0, 0.0], [1.0, 0.5, 0.5, 0.5]])
    laid = Placing((0.5, 0.5), 90).on(x, patch, u)
    torch.testing.assert_close(laid[0, :, 4:, :4], patch)
    turned = laid[1, :, 2:6, 2:6]
    assert any(torch.allclose(turned, patch.rot90(turns, (1, 2)), atol=1e-5) for turns in (1, 3))


def test_it_beats_noise_on_images_it_was_not_made_from_and_the_seed_decides():
    options = {"scale": (0.5, 0.6), "steps": 30, "batch_size": 40, "trial": (X[40:], Y[40:])}
    one, two = (universal_patch(digits_cnn(), X[:40], Y[:40], **options) for _ in range(2))
    assert one.patch.equal(two.patch)
    assert one.success.k > one.control.k
    assert one.success.n == one.control.n > 30
    assert (one.patch.min() >= 0, one.patch.max() <= 1, one.patch.shape) == (True, True, (1, 5, 5))
    assert one.on(X[:5]).equal(one.on(X[:8])[:5])
    assert not universal_patch(digits_cnn(), X[:40], Y[:40], **options, seed=1).patch.equal(one.patch)


def test_with_a_target_success_is_the_target():
    found = universal_patch(digits_cnn(), X, Y, scale=(0.6, 0.7), steps=30, target=3)
    assert found.success.k > found.control.k
    assert found.success.n < len(X)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"scale": (0.0, 0.4)}, ConfigurationError, "scale"),
        ({"scale": (0.5, 0.4)}, ConfigurationError, "scale"),
        ({"steps": 0}, ConfigurationError, "steps"),
        ({"x": torch.rand(3, 5)}, InvalidEvaluation, "expected images"),
    ],
)
def test_settings_that_mean_nothing_end_in_one_line(options, error, said):
    with pytest.raises(error, match=said):
        universal_patch(digits_cnn(), **{"x": X, "y": Y, **options})
