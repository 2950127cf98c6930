"""Files of arrays: `.npz` with inputs and labels."""

from __future__ import annotations

import dataclasses
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.foreign_file import parsing
from robustkit.base.npz import Arrays
from robustkit.data.dataset import Dataset
from robustkit.data.labels import read_labels

NAMES = {
    "inputs": ("images", "x", "image", "imgs", "data", "inputs", "input", "features"),
    "labels": ("labels", "y", "label", "target", "targets"),
}
_PLAIN = ("images", "x", "labels", "y")  # names that need no note
_SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
_KEY = re.compile(rf"(?:({'|'.join(_SPLITS)})_)?(.+?)(?:_({'|'.join(_SPLITS)}))?")
_AXIS = "images (N, H, W) were given a channel axis"


class _Images(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images kept in the dtype they are stored in; uint8 becomes float32 in [0, 1] one image at a time."""

    def __init__(self, images: NDArray[Any], labels: Tensor) -> None:
        self.images, self.labels = images, labels

    @property
    def stored_columns(self) -> tuple[NDArray[Any], Tensor]:
        """The images as they are stored, with their labels, for those who read many at once."""
        return self.images, self.labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x = torch.from_numpy(np.ascontiguousarray(self.images[index]))
        return x.float().div(255) if x.dtype == torch.uint8 else x, int(self.labels[index])


def read_npz(path: Path, split: str = "test") -> Dataset:
    """Returns inputs and labels of an `.npz` file, found by their names (`NAMES`); uint8 is divided by 255.

    Names may begin or end with a split, such as `x_test`. Three axes in uint8 are grey images, unless one side is more
    than four times the other, and get a channel axis; all other inputs keep their shape, except images (N, H, W, C).

    Raises:
        ConfigurationError: If the file is damaged, or its arrays are missing or are no inputs and labels.
    """
    if not (path.is_file() and zipfile.is_zipfile(path)):  # a pipe would wait for ever
        got = "something else or a truncated file" if path.exists() else "no such file"
        raise _refused(path, "an .npz file", got, "check the path")
    todo = "save it again, texts as x.astype(str)"
    with parsing(f"data '{path}'", "an .npz file of plain arrays", todo), zipfile.ZipFile(path) as archive:
        arrays = Arrays(archive, path)
        keys, part = _find(path, arrays.names, split)
        images, stored = arrays[keys["inputs"]], arrays[keys["labels"]]
    try:
        labels = read_labels(stored)
    except InvalidEvaluation as error:
        raise ConfigurationError(f"data '{path}': {error}") from error
    if images.dtype not in (np.uint8, np.float16, np.float32, np.float64) or images.ndim < 2 or 0 in images.shape[1:]:
        got = f"shape {images.shape} and dtype {images.dtype} in '{keys['inputs']}'"
        todo = "save pixels as uint8 (0..255, which is divided by 255), anything else as float32 in the model's units"
        raise _refused(path, "images (N, ...) in uint8 or float", got, todo)
    if len(images) != len(labels.y):
        raise _refused(path, "one label per image", f"{len(images)} images and {len(labels.y)} labels", "align them")
    plain = {*keys.values()} <= {*_PLAIN}
    notes = [] if plain else [f"'{keys['inputs']}' was read as inputs and '{keys['labels']}' as labels"]
    notes += ["uint8 images were divided by 255"] if images.dtype == np.uint8 else []
    if images.ndim == 3 and images.dtype == np.uint8 and max(images.shape[1:]) <= 4 * min(images.shape[1:]):
        images = images[:, None]
        notes.append(_AXIS)
    elif images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
        notes.append("images (N, H, W, C) were transposed to (N, C, H, W)")
    return Dataset(
        name=str(path),
        source=_Images(images, labels.y),
        split=part,
        class_names=labels.names,
        labelled_by_name=labels.names is not None,
        notes=(*notes, *labels.notes),
    )


def with_fitting_axes(dataset: Dataset, takes: Callable[[Tensor], bool]) -> Dataset:
    """Returns the data of an `.npz` file in the one of the shapes (N, A, B) and (N, 1, A, B) that a model takes.

    Args:
        dataset: Any data; others are returned as they are.
        takes: Whether the model takes a batch of two inputs; asked about the present shape first.
    """
    source = dataset.source
    if not isinstance(source, _Images) or len(source) < 2 or source.images.shape[1:-2] not in ((), (1,)):
        return dataset
    grey = source.images.ndim == 4
    other = _Images(source.images[:, 0] if grey else source.images[:, None], source.labels)
    if takes(_two(source)) or not takes(_two(other)):
        return dataset
    notes = [note for note in dataset.notes if note != _AXIS] if grey else [*dataset.notes, _AXIS]
    return dataclasses.replace(dataset, source=other, notes=tuple(notes))


def _two(source: _Images) -> Tensor:
    return torch.stack([source[0][0], source[1][0]])


def _find(path: Path, there: Sequence[str], split: str) -> tuple[dict[str, str], str | None]:
    """Returns the keys of inputs and labels, and the split that their names tell."""
    wanted, splits = _SPLITS.get(split.lower(), split), set[str]()
    found: dict[tuple[str, str | None], list[str]] = {}
    for key in there:
        match = _KEY.fullmatch(key.lower())
        before, name, after = match.groups() if match else (None, key, None)
        role = next((role for role, names in NAMES.items() if name in names), None)
        part = _SPLITS.get(before or after or "")
        if role:
            found.setdefault((role, part), []).append(key)
            splits |= {part} if part else set()
    part = wanted if wanted in splits else None
    keys = {role: found.get((role, part), []) for role in NAMES}
    if not any(keys.values()) and splits:
        raise _refused(path, f"arrays of the split '{split}'", ", ".join(there), f"name one of {sorted(splits)}")
    if [*there] == ["arr_0", "arr_1"]:  # how numpy calls arrays without a name
        return {"inputs": "arr_0", "labels": "arr_1"}, None
    if not all(keys.values()):
        got = ", ".join(there) or "no array"
        raise _refused(path, "arrays 'images' (or 'x') and 'labels' (or 'y')", got, "rename them")
    for role, candidates in keys.items():
        if len(candidates) > 1:
            raise _refused(path, f"one array with the {role}", ", ".join(candidates), "keep or rename one")
    return {role: candidates[0] for role, candidates in keys.items()}, part


def _refused(path: Path, expected: str, got: str, todo: str) -> ConfigurationError:
    return ConfigurationError(f"data '{path}': expected {expected}, got {got}; {todo}")
