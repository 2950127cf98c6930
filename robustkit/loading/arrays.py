"""Files of arrays: `.npz` with images and labels."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, one_line
from robustkit.data.dataset import Dataset
from robustkit.data.labels import as_labels


class _Images(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images kept in the dtype they are stored in; uint8 becomes float32 in [0, 1] one image at a time."""

    def __init__(self, images: NDArray[Any], labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x = torch.from_numpy(np.ascontiguousarray(self.images[index]))
        return x.float().div(255) if x.dtype == torch.uint8 else x, int(self.labels[index])


def read_npz(path: Path) -> Dataset:
    """Returns the arrays `images` (or `x`) and `labels` (or `y`) of an `.npz` file; uint8 is divided by 255.

    Raises:
        ConfigurationError: If the file is damaged, or its arrays are missing or are no images and labels.
    """

    def refuse(expected: str, got: str, todo: str) -> ConfigurationError:
        return ConfigurationError(f"data '{path}': expected {expected}, got {got}; {todo}")

    if not zipfile.is_zipfile(path):
        got = "something else or a truncated file" if path.exists() else "no such file"
        raise refuse("an .npz file", got, "check the path")
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = [next((k for k in names if k in file), "") for names in (("images", "x"), ("labels", "y"))]
            if "" in keys:
                got = ", ".join(file) or "no array"
                raise refuse("arrays 'images' (or 'x') and 'labels' (or 'y')", got, "rename them")
            images, labels = file[keys[0]], as_labels(file[keys[1]])
    except InvalidEvaluation as error:
        raise ConfigurationError(f"data '{path}': {error}") from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise refuse("an .npz file of plain arrays", one_line(error), "save it again") from error
    if images.dtype not in (np.uint8, np.float16, np.float32, np.float64) or images.ndim < 2:
        got = f"shape {images.shape} and dtype {images.dtype}"
        raise refuse("images (N, ...) in uint8 or float", got, "convert them")
    if len(images) != len(labels):
        raise refuse("one label per image", f"{len(images)} images and {len(labels)} labels", "align them")
    notes = ["uint8 images were divided by 255"] if images.dtype == np.uint8 else []
    if images.ndim == 3:
        images = images[:, None]
        notes.append("images (N, H, W) were given a channel axis")
    elif images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
        notes.append("images (N, H, W, C) were transposed to (N, C, H, W)")
    return Dataset(name=str(path), source=_Images(images, labels), notes=tuple(notes))
