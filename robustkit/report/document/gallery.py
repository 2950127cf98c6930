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
class ShownSample:
    """A sample with the answers of the model to it, before and after the attack that came nearest to breaking it."""

    id: int
    label: str
    attack: str
    clean_prediction: str
    clean_confidence: float
    adversarial_prediction: str
    adversarial_confidence: float
    norm: str
    distance: float

    @property
    def broken(self) -> bool:
        """Whether the attack succeeded."""
        return self.adversarial_prediction != self.label


@dataclass(frozen=True)
class GalleryItem(ShownSample):
    """An image of the gallery; `gain` is the factor by which the difference was multiplied to be seen.

    The saliency maps, white where the answer hangs on a pixel most, are each scaled to their own largest value.
    """

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


@dataclass(frozen=True)
class FeatureChange:
    """A feature of a table's row that an attack changed: its place, its name where known, and its value."""

    index: int
    name: str | None
    before: float
    after: float


@dataclass(frozen=True)
class ChangedRow(ShownSample):
    """A row of a table: the features that the attack moved most, in units of their eps, and how many it changed."""

    features: tuple[FeatureChange, ...]
    changed: int
