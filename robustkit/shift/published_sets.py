"""Published corrupted images in the layout of CIFAR-10-C, read without loading them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.foreign_file import parsing
from robustkit.base.settings import instance, integer
from robustkit.base.settings import path as known_path
from robustkit.data.dataset import Dataset
from robustkit.data.labels import as_labels
from robustkit.shift.corruptions import SEVERITIES

_BLOCK = 256  # images turned into floating point at once


def load_corrupted(folder: str | Path, corruption: str, severity: int) -> Dataset:
    """Returns one corruption at one severity; images come as float32 (N, C, H, W) in 0..1, ids are positions.

    The folder holds `<corruption>.npy`, uint8 images (5 n, H, W, C) or (5 n, H, W), severity 1 first, and
    `labels.npy`, 5 n labels or n. Only the images that are looked at are read.

    Args:
        folder: Such as the unpacked CIFAR-10-C, CIFAR-100-C or MNIST-C in that layout.
        corruption: Name of the file, without `.npy`.
        severity: From 1 to 5.

    Raises:
        ConfigurationError: If the files are missing or not what they should be.

    Source: Hendrycks & Dietterich 2019, arXiv 1903.12261; the files are doi:10.5281/zenodo.2535967.
    """
    folder = known_path("corrupted data", "folder", folder)
    instance("corrupted data", "corruption", corruption, str)
    severity = integer("corrupted data", "severity", severity, 1, len(SEVERITIES))
    images, labels = _read(folder, corruption), _read(folder, "labels")
    count, rest = divmod(len(images), len(SEVERITIES))
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or rest or not count:
        raise ConfigurationError(
            f"corrupted data '{folder / corruption}.npy': expected uint8 images (5 n, H, W, C) stacked by severity, got"
            f" {images.dtype} of shape {images.shape}; fetch the file again"
        )
    if labels.ndim != 1 or len(labels) not in (count, len(images)):
        raise ConfigurationError(
            f"corrupted data '{folder / 'labels.npy'}': expected {len(images)} labels or {count}, got shape"
            f" {labels.shape}; fetch the file again"
        )
    start = (severity - 1) * count
    own = labels[:count] if len(labels) == count else labels[start : start + count]
    source = _Blocks(images[start : start + count], as_labels(np.array(own)))
    note = "uint8 images were divided by 255"
    return Dataset(name=f"{folder.name}/{corruption}/{severity}", source=source, split="test", notes=(note,))


class _Blocks:
    """Samples whose images stay on disk; gone through, they come in batches (x, y, ids), again and again."""

    def __init__(self, images: NDArray[np.uint8], labels: Tensor) -> None:
        self._images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, int, int]:
        x, y, ids = self._block(slice(place, place + 1))
        return x[0], int(y[0]), int(ids[0])

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return (self._block(slice(start, start + _BLOCK)) for start in range(0, len(self), _BLOCK))

    def _block(self, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.from_numpy(np.array(self._images[part])).float() / 255
        x = x[:, None] if x.ndim == 3 else x.movedim(-1, 1).contiguous()
        return x, self.labels[part], torch.arange(len(self), device="cpu")[part]


def _read(folder: Path, name: str) -> NDArray[Any]:
    path = folder / f"{name}.npy"
    if not path.is_file():
        there = [p.stem for p in folder.glob("*.npy")]
        hint = suggest(name, there) if there else "; the folder holds no .npy file"
        raise ConfigurationError(f"corrupted data: expected a file '{path}', got none{hint}")
    with parsing(f"corrupted data '{path}'", "a .npy array", "fetch it again"):
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
