"""What is done to a picture before a model sees it, as one value: resize, crop, and what mean and std are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import InterpolationMode, functional, v2

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.foreign_code import foreign

INTERPOLATIONS = {mode.value: mode for mode in InterpolationMode}
Size = int | tuple[int, int]


@dataclass(frozen=True)
class Preprocessing:
    """A function from a picture to a tensor (C, H, W) in 0..1, and the mean and std that the model then applies.

    Attributes:
        resize: Pixels of the shorter side, or the whole size (height, width); None leaves the picture as it is.
        crop: Pixels of the centre that is cut out, one number for a square.
        interpolation: One of `INTERPOLATIONS`.
        mean: Subtracted per channel before the model, in units of 0..1; attacks see pixels, not what this leaves.
        std: Divides per channel after `mean`.
        source: Where it comes from, for reports.
        class_names: Of the outputs, where the source names them.
        num_classes: Outputs of the weights it belongs to, where the source knows.
        remark: What a reader must know about the choice of it.
        function: Used instead of resize and crop, which then only tell: a picture to a tensor in 0..1.
    """

    resize: Size | None = None
    crop: Size | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    source: str = "as given"
    class_names: tuple[str, ...] | None = None
    num_classes: int | None = None
    remark: str = ""
    function: Callable[[Image.Image], Any] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            hint = suggest(self.interpolation, INTERPOLATIONS)
            raise ConfigurationError(f"transform: expected an interpolation, got '{self.interpolation}'{hint}")

    @property
    def changes_pixels(self) -> bool:
        """Whether it does more to a picture than make it a tensor."""
        return not (self.resize is None and self.crop is None and self.function is None)

    @property
    def output_size(self) -> tuple[int, int] | None:
        """Height and width of what it returns, where they do not depend on the picture."""
        size = self.crop or (self.resize if isinstance(self.resize, tuple) else None)
        return (size, size) if isinstance(size, int) else size

    def __call__(self, image: Image.Image) -> Tensor:
        """Returns the picture as float32 (C, H, W) in 0..1.

        Raises:
            ConfigurationError: If the source's own function returns something else.
        """
        if image.mode == "L" and len(self.mean or ()) == 3:
            image = image.convert("RGB")
        if self.function is not None:
            with foreign(f"the transform {self.source}"):
                made = self.function(image)
            return self._checked(made)
        if self.resize is not None:
            size = [self.resize] if isinstance(self.resize, int) else [*self.resize]
            image = functional.resize(image, size, INTERPOLATIONS[self.interpolation], antialias=True)
        if self.crop is not None:
            image = functional.center_crop(image, [self.crop] if isinstance(self.crop, int) else [*self.crop])
        tensor: Tensor = functional.to_tensor(image)
        return tensor

    def _checked(self, made: Any) -> Tensor:
        if not isinstance(made, Tensor) or made.ndim != 3:
            got = f"shape {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
            raise self._refused("a tensor (C, H, W)", got, "end it with ToTensor()")
        plain: Tensor = made.as_subclass(Tensor)  # an Image of v2 is a tensor, too
        if plain.dtype == torch.uint8:
            return plain.float() / 255
        low, high = float(plain.min()), float(plain.max())
        if not (low >= -1e-6 and high <= 1 + 1e-6):
            todo = "leave its normalisation out and give it as --mean and --std (mean=, std=), so that eps is in pixels"
            raise self._refused("values in 0..1", f"{low:.4g}..{high:.4g}", todo)
        return plain.float().clamp(0, 1)

    def _refused(self, expected: str, got: str, todo: str) -> ConfigurationError:
        return ConfigurationError(f"transform '{self.source}': expected {expected}, got {got}; {todo}")

    def told(self) -> Iterator[str]:
        """Yields what was done to pictures, one sentence each, for reports."""
        steps = []
        if isinstance(self.resize, int):
            steps.append(f"resized to {self.resize} pixels (shorter side)")
        elif self.resize is not None:
            steps.append(f"resized to {self.resize[0]} x {self.resize[1]} pixels")
        if self.crop is not None:
            same = self.crop == self.resize and isinstance(self.crop, int)
            size = self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)
            steps.append("centre-cropped" if same else f"centre-cropped to {size[0]} x {size[1]}")
        if self.function is not None:
            pixels = f": {' x '.join(map(str, self.output_size))} pixels" if self.output_size else ""
            yield f"pictures were prepared by {self.source}{pixels}"
        elif steps:
            how = "" if self.interpolation == "bilinear" else f" ({self.interpolation})"
            of = "" if self.source == "as given" else f", as {self.source} says"
            yield f"{' and '.join(steps)}{how}{of}"
        if self.remark:
            yield self.remark

    def unlike(self, shape: tuple[int, ...]) -> str:
        """Returns the two sizes in words where inputs of this shape (C, H, W) are not what it returns, else ""."""
        if not self.changes_pixels or tuple(shape[-2:]) == self.output_size:
            return ""
        size = " x ".join(map(str, self.output_size)) if self.output_size else "another size"
        return f"inputs of {' x '.join(map(str, shape[1:]))}, where {self.source} gives {size}"


def same_pixels(one: Preprocessing | None, other: Preprocessing | None) -> bool:
    """Returns whether both do the same to every picture, as far as can be told."""
    steps = [p and (p.resize, p.crop, p.interpolation, str(p.function)) for p in (one, other)]
    return steps[0] == steps[1]


def of_image_size(size: int) -> Preprocessing:
    """Returns a resize of the shorter side to `size`, then the centre square."""
    return Preprocessing(resize=size, crop=size)


def lifted(function: Callable[[Any], Any], source: str) -> Preprocessing:
    """Returns a callable as preprocessing, the Normalize at its end taken out as mean and std.

    Raises:
        ConfigurationError: If a Normalize stands elsewhere.
    """
    if all(hasattr(function, name) for name in ("resize_size", "crop_size", "interpolation", "mean", "std")):
        return of_torchvision(function, source)
    *first, last = _steps(function) or [function]
    kinds = (transforms.Normalize, v2.Normalize)
    if any(isinstance(step, kinds) for step in first):
        raise ConfigurationError(
            f"transform '{source}': expected Normalize as the last step, got {type(last).__name__} after it; put it"
            " last"
        )
    if not isinstance(last, kinds):
        return Preprocessing(source=source, function=function)
    mean, std = (tuple(map(float, values)) for values in (last.mean, last.std))
    return Preprocessing(mean=mean, std=std, source=source, function=transforms.Compose(first))


def of_torchvision(preset: Any, source: str) -> Preprocessing:
    """Returns what the transforms of torchvision's classification weights do."""
    resize, crop = (_size(size) for size in (preset.resize_size, preset.crop_size))
    return Preprocessing(
        resize=resize,
        crop=crop,
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        source=source,
    )


def _size(size: Any) -> Size:
    if isinstance(size, int):
        return size
    return int(size[0]) if len(size) == 1 else (int(size[0]), int(size[1]))


def _steps(function: Any) -> list[Any]:
    """Returns the single steps of nested compositions; none where it is no composition."""
    if isinstance(function, nn.Sequential):
        steps = [*function]
    elif isinstance(function, transforms.Compose | v2.Compose):
        steps = [*function.transforms]
    else:
        return []
    return [inner for step in steps for inner in (_steps(step) or [step])]
