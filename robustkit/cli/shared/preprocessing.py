"""What stands between the data and the model: --transform, --image-size, --bounds, --mean and --std."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.option_types import NUMBERS

if TYPE_CHECKING:
    from robustkit.loading.preprocessing import Preprocessing

Numbers = tuple[float, ...] | None

BOUNDS = click.option("--bounds", help="Smallest and largest input value  [default: the data's, mostly 0,1]")
MEAN = click.option("--mean", help="Subtracted per channel before the model, such as 0.485,0.456,0.406.")
STD = click.option("--std", help="Divides per channel after --mean, such as 0.229,0.224,0.225.")
IMAGE_SIZE = click.option("--image-size", type=click.IntRange(1), help="Resize and crop the images of a folder.")
TRANSFORM = click.option(
    "--transform", default="model", show_default=True, metavar="NAME",
    help="What prepares pictures: the MODEL's own preset, none, torchvision:ResNet18_Weights.DEFAULT, timm:NAME, "
    "hf:FOLDER, package.module:factory, or resize=256,crop=224,interpolation=bicubic.",
)  # fmt: skip


def read_bounds(text: str | None) -> tuple[float, float] | None:
    """Returns the input range, None for the data's own.

    Raises:
        ConfigurationError: If `text` is not two rising numbers.
    """
    if text is None:
        return None
    limits = NUMBERS.read("--bounds", text)
    if len(limits) != 2 or not limits[0] < limits[1]:
        raise ConfigurationError(f"--bounds: expected two rising numbers such as 0,1, got {text!r}; correct it")
    return limits[0], limits[1]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """How inputs are prepared, and who said so.

    What is typed goes before what `--transform` names, and that before the preset of the model.

    Attributes:
        pictures: What is done to files of pictures, None for nothing.
        asked: Whether somebody typed that, rather than the model bringing it.
        mean: Subtracted per channel before the model.
        std: Divides per channel after `mean`.
        preset: What the model brings, whatever of it is used.
        brings: Whether mean and std are the preset's.
    """

    pictures: Preprocessing | None
    asked: bool
    mean: Numbers
    std: Numbers
    preset: Preprocessing | None
    brings: bool

    @property
    def for_folder(self) -> Preprocessing | None:
        """What is done to the files of a folder."""
        return self.pictures if self.pictures and self.pictures.changes_pixels else None

    def without_preset(self) -> Prepared:
        """Returns what is left where the model's preset is none of its own."""
        pictures = self.pictures if self.asked else None
        mean, std = (None, None) if self.brings else (self.mean, self.std)
        return Prepared(pictures, self.asked, mean, std, preset=None, brings=False)

    def notes(self, shape: tuple[int, ...] | None, folder: bool) -> Iterator[str]:
        """Yields what a reader must know about it.

        Args:
            shape: Of one input, None where it is not known.
            folder: Whether the data are files of pictures, which say themselves what was done to them.
        """
        if self.preset is None:
            return
        if self.brings:
            mean, std = (", ".join(f"{v:g}" for v in values or ()) for values in (self.mean, self.std))
            yield f"mean {mean} and std {std} are those of {self.preset.source}"
        elif self.preset.mean is not None:
            yield f"mean and std are as given, not those of {self.preset.source}"
        if not self.preset.changes_pixels:
            yield from self.preset.told()
        elif folder and self.asked:
            yield f"the preset of the model is another: {'; '.join(self.preset.told())}"
        elif not folder:
            if self.preset.remark:
                yield self.preset.remark
            if shape is not None and (other := self.preset.unlike(shape)):
                yield f"{other}: they are not resized"


def prepare(
    model: str, weights: Path | None, transform: str, image_size: int | None, mean: str | None, std: str | None
) -> Prepared:
    """Returns how inputs are prepared for a model, from what was typed.

    Raises:
        ConfigurationError: If an option cannot be used as given.
    """
    from robustkit.loading.libraries import preset_of
    from robustkit.loading.preprocessing import of_image_size
    from robustkit.loading.transform import read_transform

    named = transform not in ("model", "none")
    if image_size and named:
        raise ConfigurationError("--image-size: expected it or --transform, got both; drop one")
    preset = None if transform == "none" else preset_of(model, weights)
    typed = read_transform(transform) if named else of_image_size(image_size) if image_size else None
    constants = [
        None if text is None else NUMBERS.read(name, text) for name, text in (("--mean", mean), ("--std", std))
    ]
    brings = False
    if constants == [None, None]:
        source = typed if typed and typed.mean is not None else preset
        constants = [source.mean, source.std] if source else constants
        brings = source is preset and preset is not None and preset.mean is not None
    return Prepared(typed or preset, typed is not None, constants[0], constants[1], preset, brings)
