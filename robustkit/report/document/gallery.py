"""Examples to look at, as the report holds them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """An image at its own resolution: base64 of a PNG, `height` x `width` pixels."""

    height: int
    width: int
    png: str


@dataclass(frozen=True)
class GalleryItem:
    """One sample of the gallery; `gain` is the factor by which the difference was multiplied to be seen.

    The saliency maps, white where the answer hangs on a pixel most, are each scaled to their own largest value.
    """

    id: int
    label: str
    attack: str
    clean_prediction: str
    clean_confidence: float
    adversarial_prediction: str
    adversarial_confidence: float
    norm: str
    distance: float
    gain: float
    clean: Picture
    adversarial: Picture
    difference: Picture
    saliency: Picture | None = None
    saliency_adversarial: Picture | None = None

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Every picture there is."""
        shown = (self.clean, self.adversarial, self.difference, self.saliency, self.saliency_adversarial)
        return tuple(picture for picture in shown if picture is not None)
