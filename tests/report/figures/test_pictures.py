"""Arrays as pictures."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from robustkit.report import (
    difference,
    picture,
)


def pixels(shown) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.png))))
    assert image.shape[:2] == (shown.height, shown.width)
    return image


class TestPictures:
    def test_bounds_are_black_and_white_and_the_middle_is_grey(self):
        x = np.array([[[-1.0, 0.0, 1.0], [-1.0, 1.0, 1.0]]])
        assert pixels(picture(x, (-1.0, 1.0))).tolist() == [[0, 128, 255], [0, 255, 255]]

    def test_three_channels_are_red_green_blue(self):
        x = np.zeros((3, 1, 3))
        x[[0, 1, 2], 0, [0, 1, 2]] = 1
        assert pixels(picture(x, (0, 1))).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]

    @pytest.mark.parametrize("shape", [(30,), (2, 8, 8), (4, 8, 8), (8, 8), (1, 3, 8, 8), (1, 0, 8)])
    def test_what_is_no_image_has_no_picture(self, shape):
        assert picture(np.zeros(shape), (0, 1)) is None
        assert difference(np.zeros(shape), np.zeros(shape), (0, 1)) is None

    @pytest.mark.parametrize(
        ("largest", "gain"),
        [(0, 1), (1, 0.5), (0.5, 1), (0.3, 1), (0.25, 2), (8 / 255, 10), (0.025, 20), (0.01, 50), (0.005, 100)],
    )
    def test_the_gain_is_the_largest_round_number_that_fits(self, largest, gain):
        clean = np.full((1, 1, 3), 0.5 if largest <= 0.5 else 0.0)
        adversarial = clean.copy()
        adversarial[0, 0, 0] += largest
        shown, used = difference(clean.astype(np.float32), adversarial.astype(np.float32), (0, 1))
        assert used == pytest.approx(gain, rel=1e-12)
        assert pixels(shown)[0, 1] == 128
        assert pixels(shown)[0, 0] == pytest.approx(127.5 + 255 * gain * largest, abs=0.51)

    @given(st.floats(1e-9, 2.0))
    def test_the_change_nearly_fills_the_range_and_never_leaves_it(self, largest):
        clean = np.zeros((1, 1, 1))
        _, gain = difference(clean, clean + largest, (-1.0, 1.0))
        assert 0.2 * (1 - 1e-5) <= gain * largest / 2 <= 0.5 * (1 + 1e-5)
        assert f"{gain:.0e}"[0] in "125"
