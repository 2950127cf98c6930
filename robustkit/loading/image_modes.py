"""Image files of every mode as 8-bit grey or RGB images, scaled by their own range."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.base.foreign_file import regular

_GREY = ("1", "L", "LA", "La", "F")
_RANGES = (1.0, 255.0, 65535.0)


class Header(NamedTuple):
    """What the beginning of an image file says: `size` (width, height), `mode`, and what reading it loses."""

    size: tuple[int, int]
    mode: str
    alpha: bool
    frames: int


@dataclass(frozen=True)
class Reader:
    """Reads image files in one mode, "L" or "RGB"; `full` is what counts as white in files of more than 8 bits."""

    mode: str
    full: float | None = None

    def __call__(self, file: str) -> Image.Image:
        """Returns the image in a file; raises ConfigurationError if there is none."""
        try:
            with _opened(file) as image:
                if _deep(image.mode):
                    scaled = np.asarray(image, dtype=np.float64) * (255 / (self.full or 1.0))
                    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8)).convert(self.mode)
                opaque = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
                return opaque.convert(self.mode)
        except Exception as error:
            raise ConfigurationError(f"data: expected an image in '{file}', got {one_line(error)}") from error


def read_headers(files: Sequence[str]) -> list[Header]:
    """Returns the headers of image files.

    Raises:
        ConfigurationError: If some cannot be read; the message counts them and names the first.
    """
    found, broken = list[Header](), list[str]()
    for file in files:
        try:
            found.append(_header(file))
        except Exception as error:
            broken.append(f"'{file}' ({one_line(error)})")
    if broken:
        raise ConfigurationError(
            f"data: expected images, got {len(broken)} of {len(files)} files that cannot be read, first {broken[0]};"
            " repair or remove them"
        )
    return found


def reader_for(files: Sequence[str], headers: Sequence[Header]) -> tuple[Reader, tuple[str, ...]]:
    """Returns how to read some files as images of one mode, and what a report has to say about it.

    Images are grey only if all are. More than 8 bits are scaled by the range that the brightest of them uses.

    Raises:
        ConfigurationError: If a mode, or the range of its values, has no plain reading.
    """
    modes = Counter(header.mode for header in headers)
    grey = [mode for mode in modes if mode in _GREY or _deep(mode)]
    mode = "L" if len(grey) == len(modes) else "RGB"
    for file, header in zip(files, headers, strict=True):
        if header.mode in ("LAB", "HSV"):
            raise ConfigurationError(f"data: expected grey or RGB images, got {header.mode} in '{file}'; convert them")
    notes = []
    if mode == "RGB" and grey:
        notes.append(
            f"{sum(modes[name] for name in grey)} of {len(files)} images are grey and were given three channels"
        )
    if alpha := sum(header.alpha for header in headers):
        notes.append(f"the alpha channel of {alpha} of {len(files)} images was dropped, as torchvision does")
    if modes["CMYK"]:
        notes.append(f"{modes['CMYK']} of {len(files)} images were converted from CMYK without a colour profile")
    if several := sum(header.frames > 1 for header in headers):
        notes.append(f"{several} of {len(files)} files hold several images, of which only the first was read")
    deep = [file for file, header in zip(files, headers, strict=True) if _deep(header.mode)]
    if not deep:
        return Reader(mode), tuple(notes)
    full = _full_scale(deep)
    notes.append(
        f"{len(deep)} of {len(files)} images have more than 8 bits; {full:g} was taken as white, and 8 bits were kept"
    )
    return Reader(mode, full), tuple(notes)


def _opened(file: str) -> Image.Image:
    """Opens an image; one that Pillow only warns of, which a few bytes can claim to be, is refused as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(regular(Path(file)))


def _header(file: str) -> Header:
    with _opened(file) as image:
        alpha = image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info
        return Header(image.size, image.mode, alpha, getattr(image, "n_frames", 1))


def _deep(mode: str) -> bool:
    """Returns whether a mode has more than 8 bits per channel: "F", "I" and the kinds of "I;16"."""
    return mode == "F" or mode.startswith("I")


def _full_scale(files: Sequence[str]) -> float:
    """Returns what white is in files of more than 8 bits: 1, 255 or 65535, whichever their values fill."""
    least, most, whole = np.inf, -np.inf, False
    for file in files:
        try:
            with _opened(file) as image:
                values = np.asarray(image)
        except Exception as error:
            raise ConfigurationError(f"data: expected an image in '{file}', got {one_line(error)}") from error
        if not np.isfinite(values).all():
            raise ConfigurationError(f"data: expected finite values, got NaN or infinity in '{file}'; repair it")
        whole = whole or values.dtype.kind != "f"
        least, most = min(least, float(values.min())), max(most, float(values.max()))
    for full in _RANGES:
        if least >= 0 and full / 4 <= most <= full * (1 + 1e-6) and not (full == 1 and whole):
            return full
    raise ConfigurationError(
        f"data: expected images of more than 8 bits that fill 0..1 (floats), 0..255 or 0..65535, got"
        f" {least:g}..{most:g} in {len(files)} files, first '{files[0]}'; which value is white is not clear: convert"
        " them to 8 bits"
    )
