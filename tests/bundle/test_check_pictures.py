"""The pictures of a report beside those that data and points give."""

from __future__ import annotations

import base64
import dataclasses
import io
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from robustkit.bundle.check_pictures import wrong_pictures
from robustkit.report.figures.pictures import difference, picture

BOUNDS = (0.0, 1.0)
X = torch.linspace(0, 1, 2 * 3 * 4 * 4).view(2, 3, 4, 4)
WORST = (X + 0.1).clamp(max=1)


def exhibit(row: int, id: int) -> SimpleNamespace:
    clean, worst = X[row].numpy(), WORST[row].numpy()
    change, gain = difference(clean, worst, BOUNDS)
    return SimpleNamespace(
        id=id, clean=picture(clean, BOUNDS), adversarial=picture(worst, BOUNDS), difference=change, gain=gain
    )


def found(*gallery) -> list[tuple[str, int]]:
    return list(wrong_pictures(gallery, [7, 9], X, WORST, BOUNDS))


def test_pictures_that_show_what_they_should_are_right():
    assert found(exhibit(0, 7), exhibit(1, 9)) == []


def test_samples_that_are_not_at_hand_are_left_out():
    assert found(exhibit(0, 8)) == []


@pytest.mark.parametrize("what", ["clean", "adversarial", "difference"])
def test_a_picture_of_something_else_is_named_with_its_row(what):
    one, other = exhibit(0, 7), exhibit(1, 9)
    setattr(other, what, getattr(one, what))
    assert found(one, other) == [(f"{what} picture", 1)]


def test_another_gain_is_named():
    one = exhibit(0, 7)
    one.gain += 1
    assert found(one) == [("gain", 0)]


def test_the_same_pixels_may_be_packed_otherwise_but_not_sized_otherwise():
    one = exhibit(0, 7)
    with Image.open(io.BytesIO(base64.b64decode(one.clean.png))) as image:
        image.save(packed := io.BytesIO(), "PNG", compress_level=0)
    assert packed.getvalue() != base64.b64decode(one.clean.png)
    one.clean = dataclasses.replace(one.clean, png=base64.b64encode(packed.getvalue()).decode())
    assert found(one) == []
    one.clean = dataclasses.replace(one.clean, width=one.clean.width + 1)
    assert found(one) == [("clean picture", 0)]


def test_what_is_no_picture_is_wrong():
    one = exhibit(0, 7)
    one.clean = dataclasses.replace(one.clean, png="AAAA")
    assert found(one) == [("clean picture", 0)]
