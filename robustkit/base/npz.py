"""Arrays in an `.npz` file, each judged by its header before memory is taken for it."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

MOST_UNPACKED, LITTLE = 100, 1 << 28  # times the size of the file; bytes that any file may unpack to


class Arrays:
    """The arrays of an open `.npz` file by name; `names` are in the order of the file.

    Raises:
        ValueError: If they unpack to far more than the file has bytes.
    """

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive = archive
        entries = archive.infolist()
        self._entries = {entry.filename.removesuffix(".npy"): entry for entry in entries if not entry.is_dir()}
        self.names = [*self._entries]
        if sum(entry.file_size for entry in entries) > max(MOST_UNPACKED * path.stat().st_size, LITTLE):
            raise ValueError(f"arrays that unpack to more than {MOST_UNPACKED} times its size; np.savez packs nothing")

    def __getitem__(self, name: str) -> NDArray[Any]:
        entry = self._entries[name]
        with self._archive.open(entry) as file:
            shape, dtype = _header(file)
            if not dtype.hasobject and math.prod(shape) * dtype.itemsize > entry.file_size:
                raise ValueError(f"'{name}' that claims shape {shape} and dtype {dtype}, more than the file holds")
        with self._archive.open(entry) as file:
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape}")
    return shape, dtype
