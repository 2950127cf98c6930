"""Arrays as pictures for the eye; the evidence itself stays in float arrays."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from robustkit.base.settings import interval, wrong
from robustkit.report.document.gallery import GalleryItem, Picture

if TYPE_CHECKING:
    from robustkit.attacks.threat import Threat
    from robustkit.evaluation.gallery import Example


def picture(x: ArrayLike, bounds: tuple[float, float]) -> Picture | None:
    """Returns the input as an 8-bit PNG, grey or RGB; None where it is no image.

    Args:
        x: One input, shape (C, H, W) with C = 1 or 3 for an image, values within `bounds`.
        bounds: The values shown as black and as white.
    """
    low, high = interval("picture", "bounds", bounds)
    return _png((_numbers("x", x) - low) / (high - low))


def difference(clean: ArrayLike, adversarial: ArrayLike, bounds: tuple[float, float]) -> tuple[Picture, float] | None:
    """Returns the change as a picture, mid-grey where nothing changed, and the factor it was multiplied by.

    The factor is the largest of 0.5, 1, 2, 5, 10, 20, 50, ... that keeps every change within the range.

    Args:
        clean: The input before the attack, shape (C, H, W).
        adversarial: The input after it, same shape.
        bounds: The range of pixel values.

    Returns:
        The picture and its gain, or None where the input is no image.
    """
    low, high = interval("picture", "bounds", bounds)
    before, after = _numbers("clean", clean), _numbers("adversarial", adversarial)
    if before.shape != after.shape:
        raise wrong("picture", "adversarial", adversarial, f"an array of shape {before.shape}")
    change = (after - before) / (high - low)
    gain = _round_gain(float(np.abs(change).max(initial=0.0)))
    shown = _png(0.5 + gain * change)
    return None if shown is None else (shown, gain)


def gallery_item(example: Example, names: Sequence[str], threat: Threat) -> GalleryItem | None:
    """Returns an example as the report shows it, its classes under their names; None where it is no image."""
    before, after = example.x.numpy(), example.x_adv.numpy()
    clean, adversarial = picture(before, threat.range), picture(after, threat.range)
    change = difference(before, after, threat.range)
    if clean is None or adversarial is None or change is None:
        return None
    maps = [None if found is None else found.numpy() for found in (example.saliency, example.saliency_adv)]
    saliency = [None if found is None else brightest(found) for found in maps]
    return GalleryItem(
        **answers(example, names, threat),
        gain=change[1],
        clean=clean,
        adversarial=adversarial,
        difference=change[0],
        saliency=saliency[0],
        saliency_adversarial=saliency[1],
    )


def brightest(map: NDArray[np.float32]) -> Picture | None:
    """Returns a map (1, H, W) of numbers from 0, its largest as white."""
    return picture(map, (0.0, float(map.max()) or 1.0))


def answers(example: Example, names: Sequence[str], threat: Threat) -> dict[str, Any]:
    """Returns the fields of a `ShownSample`."""
    return {
        "id": example.id,
        "label": names[example.label],
        "attack": example.attack,
        "clean_prediction": names[example.clean_prediction],
        "clean_confidence": example.clean_confidence,
        "adversarial_prediction": names[example.adversarial_prediction],
        "adversarial_confidence": example.adversarial_confidence,
        "norm": threat.norm,
        "distance": example.distance,
    }


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise wrong("picture", name, values, "an array of numbers") from None
    if not np.isfinite(found).all():
        raise wrong("picture", name, values, "finite numbers")
    return found


def _round_gain(largest: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that multiplies `largest` to at most 0.5."""
    if largest == 0:
        return 1.0
    room = 0.5 / largest * (1 + 1e-6)  # float32 rounding of a change of exactly 0.05 shall not cost half the gain
    power = 10.0 ** math.floor(math.log10(room))
    return max(step * power for step in (1, 2, 5) if step * power <= room)


def _png(values: NDArray[np.float64]) -> Picture | None:
    if values.ndim != 3 or values.shape[0] not in (1, 3) or 0 in values.shape:
        return None
    pixels = np.rint(255 * values.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file, "PNG", optimize=True)
    return Picture(pixels.shape[0], pixels.shape[1], base64.b64encode(file.getvalue()).decode())
