"""One row per sample: the table every number of an evaluation is a function of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from robustkit.base.csv_table import Cell, read_csv, write_csv
from robustkit.base.errors import ConfigurationError
from robustkit.base.foreign_file import parsing
from robustkit.base.settings import distinct, items

Mask = npt.NDArray[np.bool_]
_CLEAN = {
    "id": np.int64, "label": np.int64, "clean_prediction": np.int64, "clean_confidence": np.float64,
    "clean_nll": np.float64, "clean_brier": np.float64, "worst_attack": np.int64, "worst_prediction": np.int64,
    "worst_confidence": np.float64, "worst_nll": np.float64, "worst_brier": np.float64,
}  # fmt: skip
_ATTACK = {
    "prediction": np.int64, "confidence": np.float64, "margin": np.float64, "distance": np.float64,
    "steps": np.int64, "queries": np.int64, "stored_prediction": np.int64,
}  # fmt: skip
_RELAXED = "relaxed_prediction"


class Ledger:
    """A table that grows by rows; columns are numpy arrays, read with `ledger["clean_prediction"]`.

    Columns of an attack are called "<attack>/prediction", and so on: prediction and confidence at its best point,
    margin (best wrong logit minus the label's; positive is broken), distance in the attack's norm, steps and queries
    until broken; stored_prediction is the one after rounding the point to 8 bits, where the clean inputs are such. A
    sample that was wrong from the start, or broken earlier in a cascade, is not attacked: its prediction there is -1.

    Args:
        attacks: Labels of the attacks, in the order they run.
        relaxed: Of a table with a schema: whether there is a column relaxed_prediction, too, the wrong class that a
            point of the search had which need not be a legal record, or else the prediction.
    """

    def __init__(self, attacks: Iterable[str], relaxed: bool = False) -> None:
        listed = items("ledger", "attacks", attacks)
        self.attacks = distinct("ledger", "attacks", listed) if listed else ()
        self.relaxed = relaxed
        columns = {**_ATTACK, _RELAXED: np.int64} if relaxed else _ATTACK
        types = {**_CLEAN, **{f"{a}/{column}": kind for a in self.attacks for column, kind in columns.items()}}
        self._columns: dict[str, npt.NDArray[Any]] = {name: np.zeros(0, kind) for name, kind in types.items()}
        self._rows = 0
        self.names: list[str] | None = None

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        return self._columns[column][: self._rows]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(self._columns)

    def extend(self, rows: int, names: list[str] | None = None) -> slice:
        """Adds empty rows (integers -1, fractions NaN), with names where the data have them; returns where they are."""
        if names is not None:
            self.names = [*(self.names or []), *names]
        start, self._rows = self._rows, self._rows + rows
        for name, old in self._columns.items():
            if self._rows > len(old):
                blank = -1 if old.dtype.kind == "i" else np.nan
                new = np.full(max(self._rows, 2 * len(old)), blank, old.dtype)
                new[: len(old)] = old
                self._columns[name] = new
        return slice(start, self._rows)

    def write(self, where: slice | npt.NDArray[np.int64], prefix: str = "", **values: npt.ArrayLike) -> None:
        """Sets cells: `write(rows, "pgd/", prediction=..., margin=...)`."""
        for name, value in values.items():
            self._columns[prefix + name][: self._rows][where] = value

    @property
    def right(self) -> Mask:
        """Which samples are classified rightly without an attack."""
        return np.asarray(self["clean_prediction"] == self["label"])

    def right_under(self, attack: str) -> Mask:
        """Which samples are right and stay right under one attack."""
        hits: Mask = self.right & (self[f"{attack}/prediction"] == self["label"])
        return hits

    def broken_under(self, attack: str) -> Mask:
        """Which samples were right, given to one attack, and made wrong by it."""
        found = self[f"{attack}/prediction"]
        hits: Mask = self.right & (found >= 0) & (found != self["label"])
        return hits

    @property
    def robust(self) -> Mask:
        """Which samples are right and stay right under every attack."""
        hits: Mask = np.logical_and.reduce([self.right, *(self.right_under(attack) for attack in self.attacks)])
        return hits

    @property
    def robust_stored(self) -> Mask:
        """Which samples are right and stay right under every attack whose points are rounded to 8 bits."""
        tried = [self[f"{attack}/stored_prediction"] for attack in self.attacks]
        hits: Mask = np.logical_and.reduce([self.right, *((p == self["label"]) | (p < 0) for p in tried)])
        return hits

    @property
    def robust_relaxed(self) -> Mask:
        """Which samples are right under every attack even where changes need not be legal records."""
        tried = [self[f"{attack}/{_RELAXED}"] for attack in self.attacks]
        hits: Mask = np.logical_and.reduce([self.right, *((p == self["label"]) | (p < 0) for p in tried)])
        return hits

    @property
    def unbroken(self) -> Mask:
        """Which samples are right and not broken so far, while attacks are still running."""
        tried = [self[f"{attack}/prediction"] for attack in self.attacks]
        hits: Mask = np.logical_and.reduce([self.right, *((p == self["label"]) | (p < 0) for p in tried)])
        return hits

    @property
    def closest(self) -> npt.NDArray[np.float64]:
        """How near a wrong prediction was found: 0 where it is wrong from the start, infinity where none was found."""
        near = [np.where(self.broken_under(attack), self[f"{attack}/distance"], np.inf) for attack in self.attacks]
        return np.where(self.right, np.min(near, axis=0, initial=np.inf), 0.0)

    @property
    def ids_sha256(self) -> str:
        """Hash over the sorted sample ids."""
        return hashlib.sha256(np.sort(self["id"]).tobytes()).hexdigest()

    @classmethod
    def joined(cls, ledgers: Sequence[Ledger], order: npt.NDArray[np.int64]) -> Ledger:
        """Returns the rows of several tables of the same attacks, one after the other and then put in `order`."""
        whole = cls(ledgers[0].attacks, ledgers[0].relaxed)
        whole.extend(len(order))
        for name in whole.columns:
            whole._columns[name] = np.concatenate([ledger[name] for ledger in ledgers])[order]
        if any(ledger.names for ledger in ledgers):
            names = [name for ledger in ledgers for name in ledger.names or map(str, ledger["id"].tolist())]
            whole.names = [names[row] for row in order]
        return whole

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Returns a copy of every column by name, ready for `pandas.DataFrame`."""
        return {name: self[name].copy() for name in self._columns}

    def to_frame(self) -> Any:
        """Returns the table as a pandas DataFrame, with the names where the data have them; what is unknown is NA.

        Raises:
            ConfigurationError: If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ConfigurationError(
                "to_frame: expected pandas, which is not installed; run 'pip install pandas', or use to_dict()"
            ) from None
        frame = pd.DataFrame(self.to_dict())
        for name in _may_be_unknown(self.columns):
            if frame[name].dtype.kind == "i":
                frame[name] = frame[name].astype("Int64").mask(frame[name] == -1)
        if self.names:
            frame.insert(0, "name", self.names)
        return frame

    def to_csv(self) -> str:
        """Returns the table as CSV, one line per sample in the order they were seen; empty cells are unknown."""
        unknown = _may_be_unknown(self.columns)
        columns: dict[str, Sequence[Cell]] = {"name": self.names} if self.names else {}
        columns |= {name: _cells(self[name], name in unknown) for name in self.columns}
        return write_csv([*columns], zip(*columns.values(), strict=True))

    @classmethod
    def from_csv(cls, text: str, name: str = "ledger") -> Ledger:
        """Returns the table that `to_csv` wrote, equal to the last bit.

        Args:
            text: The CSV.
            name: What to call it in an error, the file's name say.

        Raises:
            ConfigurationError: If the columns are not those of a ledger or a cell is no number.
        """
        with parsing(name, "CSV"):
            header, *lines = read_csv(text) or [[]]
        named = header[:1] == ["name"]
        relaxed = any(column.endswith(f"/{_RELAXED}") for column in header)
        ledger = cls(dict.fromkeys(column.rpartition("/")[0] for column in header if "/" in column), relaxed)
        if header[named:] != [*ledger.columns] or any(len(line) != len(header) for line in lines):
            raise ConfigurationError(f"{name}: expected the columns of a ledger in every line, got others")
        ledger.extend(len(lines), [line[0] for line in lines] if named else None)
        cells = zip(*(line[named:] for line in lines), strict=True)
        for column, values in zip(ledger.columns, cells, strict=False):
            integers = ledger[column].dtype.kind == "i"
            with parsing(name, f"numbers in column {column}"):
                ledger[column][:] = [(int(v) if v else -1) if integers else float(v or "nan") for v in values]
        return ledger


def _may_be_unknown(columns: Iterable[str]) -> set[str]:
    """Returns the columns in which -1 says that a sample was not attacked."""
    return {name for name in columns if "/" in name or name == "worst_attack"}


def _cells(values: npt.NDArray[Any], may_be_unknown: bool) -> list[Cell]:
    """Returns a column as plain numbers, None where nothing is known."""
    unknown = np.isnan(values) if values.dtype.kind == "f" else (values == -1) & may_be_unknown
    return [None if gap else value for value, gap in zip(values.tolist(), unknown.tolist(), strict=True)]
