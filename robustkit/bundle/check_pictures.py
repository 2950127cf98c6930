"""The pictures of a report, and the rows of a table in it, beside those that data and points give."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from robustkit.base.per_coordinate import PerCoordinate
from robustkit.evaluation.gallery import Example
from robustkit.report.document.gallery import ChangedRow, GalleryItem, Picture
from robustkit.report.figures.feature_changes import feature_changes
from robustkit.report.figures.pictures import brightest, difference, picture

SAME, ANYWHERE = 1.0, 8.0  # mean difference of saliency maps, of 255: on the same machine, and on any


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


def wrong_saliency(gallery: Sequence[GalleryItem], drawn: Sequence[Example]) -> Iterator[tuple[str, int, bool]]:
    """Yields which saliency map of which sample is another, and whether another machine may have drawn it.

    Args:
        gallery: The exhibits of an audit.
        drawn: Some of them with the maps that the model gives.
    """
    shown = {exhibit.id: exhibit for exhibit in gallery}
    for example in drawn:
        for what, stated, map in (
            ("saliency picture", shown[example.id].saliency, example.saliency),
            ("saliency picture under attack", shown[example.id].saliency_adversarial, example.saliency_adv),
        ):
            again = None if map is None else brightest(map.numpy())
            if stated is None or again is None:
                continue
            here, there = _pixels(again), _pixels(stated)
            apart = np.abs(here.astype(float) - there).mean() if here.shape == there.shape else np.inf
            if apart > SAME:
                yield what, example.id, bool(apart <= ANYWHERE)


def wrong_rows(
    listed: Sequence[ChangedRow], ids: Sequence[int], x: Tensor, worst: Tensor, eps: PerCoordinate | None
) -> Iterator[tuple[str, int]]:
    """Yields which row of a table was changed otherwise than the report says, names of features aside.

    Args:
        listed: The rows in an audit.
        ids: Some samples (N,).
        x: Their inputs (N, F).
        worst: Their worst points (N, F).
        eps: Of the features, where they differ.
    """
    for one in listed:
        if one.id in ids:
            row = ids.index(one.id)
            features, changed = feature_changes(x[row].numpy(), worst[row].numpy(), eps)
            if (tuple(dataclasses.replace(f, name=None) for f in one.features), one.changed) != (features, changed):
                yield "changed features", row


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
