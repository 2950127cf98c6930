"""The points behind the outcomes: kept while an evaluation runs, written as tensors, read back piece by piece."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from torch import Tensor

from robustkit.base.errors import ConfigurationError
from robustkit.base.foreign_file import parsing, regular

Points = npt.NDArray[Any]
Index = npt.NDArray[np.int64]
WORST = "worst"
_DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64"}


class Evidence:
    """Of every sample its worst point, and of every attack the point that changed the prediction; none of them twice.

    A sample that no attack was given keeps its clean input as its worst point. What is kept does not depend on batch
    size or order, and the parts of an evaluation can be put together with `update`.

    Args:
        attacks: Their labels, in the order they run.
    """

    def __init__(self, attacks: Sequence[str]) -> None:
        self.attacks = tuple(attacks)
        self._points: dict[int, dict[str, Points]] = {}

    def add(self, attack: str, ids: Tensor, points: Tensor) -> None:
        """Keeps the point (N, ...) that an attack found for each of the samples `ids` (N,)."""
        for id, point in zip(ids.tolist(), points.cpu().numpy(), strict=True):
            self._keep(id, attack, point)

    def settle(self, ids: Tensor, attack: Tensor, worst: Tensor) -> None:
        """Notes the worst points of finished samples.

        Args:
            ids: The samples (N,).
            attack: Whose point it is (N,), as a place among the attacks; -1 for the clean input.
            worst: The points (N, ...).
        """
        for id, by, point in zip(ids.tolist(), attack.tolist(), worst.cpu().numpy(), strict=True):
            self._keep(id, WORST, point)
            if by >= 0:
                self._keep(id, self.attacks[by], point)

    def update(self, other: Evidence) -> None:
        """Takes over what another part of the same evaluation kept of other samples."""
        self._points.update(other._points)

    def _keep(self, id: int, role: str, point: Points) -> None:
        held = self._points.setdefault(id, {})
        same = next((there for there in held.values() if np.array_equal(there, point)), None)
        held[role] = point.copy() if same is None else same

    @classmethod
    def of(cls, attacks: Sequence[str], columns: Mapping[str, Index], points: Sequence[Points]) -> Evidence:
        """Returns what `tensors` took to pieces."""
        found = cls(attacks)
        for row, id in enumerate(columns["ids"].tolist()):
            for role in (WORST, *attacks):
                place = columns[role if role == WORST else column_of(role)][row]
                if place >= 0:
                    found._points.setdefault(id, {})[role] = points[place]
        return found

    def worst(self, ids: Sequence[int]) -> Tensor:
        """Returns the worst points (N, ...) of samples."""
        return torch.from_numpy(np.stack([self._points[id][WORST] for id in ids]))

    def tensors(self) -> tuple[dict[str, Index], list[Points]]:
        """Returns the columns of the file by name, one entry for each id in ascending order, and the points."""
        ids = sorted(self._points)
        points: list[Points] = []
        columns = {role: np.full(len(ids), -1, np.int64) for role in (WORST, *map(column_of, self.attacks))}
        for row, id in enumerate(ids):
            places: dict[int, int] = {}
            held = self._points[id]
            for role in (WORST, *self.attacks):
                if role in held:
                    point = held[role]
                    if id_of(point) not in places:
                        places[id_of(point)] = len(points)
                        points.append(point)
                    columns[role if role == WORST else column_of(role)][row] = places[id_of(point)]
        return {"ids": np.array(ids, np.int64), **columns}, points

    def write(self, path: Path) -> str:
        """Writes a safetensors file and returns its SHA-256; one point after the other, so that nothing is held twice.

        `points` holds every point once. The columns `worst` and `attack/<label>` say for each of the `ids` which of
        them is meant, -1 if none is.
        """
        columns, points = self.tensors()
        shape = points[0].shape
        described = [(name, column.dtype, column.shape) for name, column in columns.items()]
        head = _header([*described, ("points", points[0].dtype, (len(points), *shape))])
        digest = hashlib.sha256()
        with path.open("xb") as file:
            for piece in (head, *(part.tobytes() for part in (*columns.values(), *points))):
                digest.update(piece)
                file.write(piece)
        return digest.hexdigest()


id_of = id  # in this file `id` is a sample's


def column_of(attack: str) -> str:
    """Returns the name of the column that says which points of an attack are kept."""
    return f"attack/{attack}"


def _header(tensors: Iterable[tuple[str, np.dtype[Any], tuple[int, ...]]]) -> bytes:
    """Returns the first bytes of a safetensors file that holds these tensors one after the other."""
    entries, end = {}, 0
    for name, dtype, shape in tensors:
        start, end = end, end + dtype.itemsize * int(np.prod(shape))
        entries[name] = {"dtype": _DTYPES[dtype.name], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


class StoredEvidence:
    """The file that `Evidence.write` made: its columns in memory, its points read as they are asked for.

    Args:
        path: The file.
        attacks: The attacks it must know.

    Raises:
        ConfigurationError: If the file is damaged or holds something else.
    """

    def __init__(self, path: Path, attacks: Sequence[str]) -> None:
        names = {"ids", "points", WORST, *map(column_of, attacks)}
        with parsing(path.name, "a safetensors file of points"):
            opener: Any = safe_open
            self._file = opener(regular(path), "pt")
            if (held := set(self._file.keys())) != names:
                raise ConfigurationError(
                    f"{path.name}: expected tensors {', '.join(sorted(names))}, got {', '.join(sorted(held))}"
                )
            self.ids, self.worst = self._file.get_tensor("ids"), self._file.get_tensor(WORST)
            self.of = {attack: self._file.get_tensor(column_of(attack)) for attack in attacks}
            self._points = self._file.get_slice("points")
            self.shape = tuple(self._points.get_shape())
            self.dtype = self._points[:1].dtype
            columns = (self.worst, *self.of.values())
            shaped = all(c.dtype == torch.int64 and c.shape == self.ids.shape for c in (self.ids, *columns))
            least = [0] + [-1] * len(attacks)
            if not shaped or not all(
                low <= int(c.min()) <= int(c.max()) < self.shape[0] for c, low in zip(columns, least, strict=True)
            ):
                raise ConfigurationError(f"{path.name}: expected columns that name points, got others")

    def points(self, places: Tensor) -> Tensor:
        """Returns the points (N, ...) at `places` (N,)."""
        with torch.device("cpu"):  # slices of safetensors lie where torch makes its tensors
            return torch.cat([*self._runs(places.tolist())]) if len(places) else self._points[:0]

    def _runs(self, places: list[int]) -> Iterator[Tensor]:
        """Yields the points, those that lie one after the other in the file at once."""
        start = 0
        for end in range(1, len(places) + 1):
            if end == len(places) or places[end] != places[end - 1] + 1:
                yield self._points[places[start] : places[end - 1] + 1]
                start = end
