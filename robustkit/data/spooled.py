"""Samples that can only be read in order, copied to a temporary file from which they are read in any."""

from __future__ import annotations

import math
import os
import tempfile
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, one_line
from robustkit.data.dataset import Dataset, batches

_ROWS = 64  # read together


class Spooled:
    """A map-style data set of what a stream gave; `targets` are its labels (N,) and `ids` its ids (N,).

    The file goes with the object. Processes that read open it themselves.

    Args:
        dataset: Read once, from the beginning to the end.

    Raises:
        ConfigurationError: If there is no room for the file.
        InvalidEvaluation: If samples differ in shape or dtype, or there are none.
    """

    def __init__(self, dataset: Dataset) -> None:
        handle, path = tempfile.mkstemp(prefix="robustkit-samples-")
        self._path = Path(path)
        weakref.finalize(self, self._path.unlink, missing_ok=True)
        kinds: set[tuple[Any, ...]] = set()
        read: list[tuple[Tensor, Tensor]] = []
        os.close(handle)
        with self._path.open("wb") as file:
            for batch in batches(dataset, _ROWS):
                kinds.add((tuple(batch.x.shape[1:]), batch.x.dtype))
                if len(kinds) > 1:
                    raise InvalidEvaluation(
                        f"data '{dataset.name}': expected inputs of one shape and dtype, got"
                        f" {' and '.join(f'{dtype} {shape}' for shape, dtype in sorted(kinds, key=str))}; convert them"
                    )
                try:
                    file.write(batch.x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
                except OSError as error:
                    raise ConfigurationError(
                        f"data '{dataset.name}': expected room in '{self._path.parent}' for samples that can only be"
                        f" read in order, got {one_line(error)}; let TMPDIR name another folder"
                    ) from error
                read.append((batch.y.cpu(), batch.ids))
        ((self._shape, self._dtype),) = kinds
        self.targets, self.ids = (torch.cat(column) for column in zip(*read, strict=True))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        size = math.prod(self._shape) * self._dtype.itemsize
        with self._path.open("rb") as file:
            file.seek(place * size)
            x = torch.frombuffer(bytearray(file.read(size)), dtype=self._dtype)
        return x.view(self._shape), int(self.targets[place])
