"""The pictures of a report beside those that data and points give."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from robustkit.report.document.gallery import GalleryItem, Picture
from robustkit.report.figures.pictures import difference, picture


def wrong_pictures(
    gallery: Sequence[GalleryItem], ids: Sequence[int], x: Tensor, worst: Tensor, bounds: tuple[float, float]
) -> Iterator[tuple[str, int]]:
    """Yields which picture of which sample does not show what it should, among the samples given.

    Args:
        gallery: The exhibits of an audit.
        ids: Some samples (N,).
        x: Their inputs (N, ...).
        worst: Their worst points (N, ...).
        bounds: Of the inputs.
    """
    for exhibit in gallery:
        if exhibit.id not in ids:
            continue
        row = ids.index(exhibit.id)
        clean, adversarial = x[row].numpy(), worst[row].numpy()
        change = difference(clean, adversarial, bounds)
        right = {
            "clean": picture(clean, bounds),
            "adversarial": picture(adversarial, bounds),
            "difference": change and change[0],
        }
        for what, drawn in right.items():
            if not _same(getattr(exhibit, what), drawn):
                yield f"{what} picture", row
        if change is not None and exhibit.gain != change[1]:
            yield "gain", row


def _same(stated: Picture, drawn: Picture | None) -> bool:
    """Returns whether two pictures show the same; another version may have packed the same pixels otherwise."""
    if drawn is None or (stated.height, stated.width) != (drawn.height, drawn.width):
        return False
    return stated.png == drawn.png or np.array_equal(_pixels(stated), _pixels(drawn))


def _pixels(shown: Picture) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(base64.b64decode(shown.png)), formats=("PNG",)) as image:
            # A few bytes can claim to be a picture of any size.
            return np.asarray(image) if image.size == (shown.width, shown.height) else np.zeros(0)
    except Exception:
        return np.zeros(0)
