"""Folders of images, one sub-folder per class."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.data.dataset import Dataset


def read_image_folder(path: Path, split: str, image_size: int | None) -> Dataset:
    """Classes are the sub-folders of `path`, or of `path`/`split` where that has some, in name order."""
    inside = path / split
    folder = inside if inside.is_dir() and any(p.is_dir() for p in inside.iterdir()) else path
    steps = [Resize(image_size), CenterCrop(image_size)] if image_size else []
    try:
        source = ImageFolder(str(folder), transform=Compose([*steps, ToTensor()]))
        headers = [(_header(file), file) for file, _ in (source.samples[:1] if image_size else source.samples)]
    except OSError as error:
        raise ConfigurationError(
            f"data '{path}': expected one sub-folder of images per class, got {one_line(error)}; repair it"
        ) from error
    if {*source.classes} <= {"train", "test", "val", "valid", "validation"}:
        raise ConfigurationError(f"data '{path}': expected classes, got splits {source.classes}; name one of them")
    (size, mode), first = headers[0]
    for (other, _), file in headers:
        if other != size:
            raise ConfigurationError(
                f"data '{path}': expected images of one size, got {size} in '{first}', {other} in '{file}';"
                " set image_size"
            )
    source.loader = partial(_read_image, mode="L" if mode in ("1", "L") else "RGB")
    notes = (f"resized to {image_size} pixels (shorter side) and centre-cropped",) if image_size else ()
    names, part = tuple(source.classes), split if folder == inside else None
    return Dataset(name=str(path), source=source, split=part, class_names=names, notes=notes)


def _header(file: str) -> tuple[tuple[int, int], str]:
    with Image.open(file) as image:
        return image.size, image.mode


def _read_image(file: str, mode: str) -> Image.Image:
    try:
        with Image.open(file) as image:
            return image.convert(mode)
    except OSError as error:
        raise ConfigurationError(f"data: expected an image in '{file}', got {one_line(error)}") from error
