"""Labels in every spelling people use, read as one: class indices (N,) in int64; and what the classes are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.base.errors import InvalidEvaluation
from robustkit.data.class_names import TOO_LONG

_INTEGER, _NUMBER = re.compile(r"[+-]?[0-9]+"), re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.I)
INTEGERS = (
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)

MOST_CLASSES = 10_000_000  # a larger label is no index of a class, but a hash, an id or a time


def as_labels(y: Any, num_classes: int | None = None) -> Tensor:
    """Returns class indices (N,) as int64 on the device of `y`.

    Args:
        y: Integers of any width: (N,), (N, 1), or one-hot rows (N, K) with K > 1.
        num_classes: If given, every label must be below it, and one-hot rows must be that wide.

    Raises:
        InvalidEvaluation: For any other shape or dtype (floats and booleans too, even where every value is
            integral) and for labels outside 0..num_classes-1.
    """
    try:
        labels = as_tensor(y)
    except (TypeError, ValueError, RuntimeError):
        raise _not_labels(f"{type(y).__name__} {str(y)[:40]!r}") from None
    found = f"shape {tuple(labels.shape)} and dtype {labels.dtype}"
    if labels.dtype not in INTEGERS or labels.ndim not in (1, 2):
        raise _not_labels(found)
    labels = labels.to(torch.int64)
    if labels.ndim == 2 and labels.shape[1] != 1:
        if not bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
            raise _not_labels(f"{found} whose rows are not one-hot")
        if num_classes not in (None, labels.shape[1]):
            raise InvalidEvaluation(
                f"labels: expected one-hot rows of {num_classes} classes, got {found}; match data and model"
            )
        return labels.argmax(1)
    labels = labels.reshape(-1)
    outside = (labels < 0) | (labels >= (MOST_CLASSES if num_classes is None else num_classes))
    if outside.any():
        known = "0 or more" if int(labels.min()) < 0 else f"class indices below {MOST_CLASSES:,}"
        expected = known if num_classes is None else f"0..{num_classes - 1} for {num_classes} classes"
        least, most = int(labels.min()), int(labels.max())
        raise InvalidEvaluation(
            f"labels: expected {expected}, got {least}..{most} (first at position {int(outside.nonzero()[0])});"
            f" {_repair(least, most, num_classes)}"
        )
    return labels


@dataclass(frozen=True)
class Labels:
    """Class indices (N,) with the names of their classes, if samples were labelled by name, and what was done."""

    y: Tensor
    names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def read_labels(y: Any, names: Sequence[str] | None = None) -> Labels:
    """Returns labels as they stand in files and tables: integers, or what has one plain reading as such.

    Texts are class names, ordered by name, unless all are numbers. Floats must be whole numbers or one-hot rows.
    False is class 0 and True class 1.

    Args:
        y: Labels (N,), (N, 1) or one-hot (N, K).
        names: The classes in the order of their indices, where they are known; texts must be among them.

    Raises:
        InvalidEvaluation: For anything else; a missing label is named by its row, counted from 0.
    """
    table = y.cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    table = table[:, 0] if table.ndim == 2 and table.shape[1] == 1 else table
    if table.dtype.kind in "OUST":
        table = _typed(table)
    if table.dtype.kind == "U":
        return _named(table, names)
    if table.dtype.kind == "b":
        notes = ("labels False and True were read as classes 0 and 1",) if table.ndim == 1 else ()
        return Labels(as_labels(table.astype(np.int64)), notes=notes)
    if table.dtype.kind != "f":
        return Labels(as_labels(table))
    table = table.astype(np.float64)
    broken = np.argwhere(~(np.abs(table) < MOST_CLASSES) | (table != np.floor(table)))
    if len(broken):
        row = int(broken[0][0])
        raise InvalidEvaluation(
            f"labels: expected whole numbers or one-hot rows, got {table[row].tolist()} in row {row}; use class indices"
        )
    return Labels(as_labels(table.astype(np.int64)), notes=("labels were stored as floating-point numbers",))


def _typed(table: Any) -> Any:
    """Returns an array of objects as what all of them are; raises InvalidEvaluation for missing and mixed labels."""
    cells = [
        cell.decode(errors="backslashreplace") if isinstance(cell, bytes) else cell
        for cell in table.reshape(-1).tolist()
    ]
    for row, cell in enumerate(cells):
        if cell is None or str(cell).strip().lower() in ("", "nan", "<na>", "nat"):
            raise InvalidEvaluation(f"labels: expected one for every sample, got none in row {row}; add it")
    kinds = {type(cell) for cell in cells}
    if kinds == {str}:
        return np.array([cell.strip() for cell in cells], dtype=str).reshape(table.shape)
    if not kinds <= {int, bool} and not kinds <= {int, float}:
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InvalidEvaluation(f"labels: expected integers or class names, got {found}; use one kind")
    return np.array(cells).reshape(table.shape)


def _named(table: Any, names: Sequence[str] | None) -> Labels:
    """Reads texts (N,)."""
    if table.ndim != 1:
        raise _not_labels(f"texts of shape {table.shape}")
    found = sorted(set(table.tolist()))
    if names is None and all(map(_NUMBER.fullmatch, found)):
        whole = all(len(text) < TOO_LONG and _INTEGER.fullmatch(text) for text in found)
        read = read_labels(table.astype(np.int64 if whole else np.float64))
        return Labels(read.y, notes=("labels were stored as texts", *read.notes))
    order = list(names or found)
    if strangers := [name for name in found if name not in order]:
        raise InvalidEvaluation(
            f"labels: expected one of the classes {', '.join(order[:8])}, got {strangers[0]!r}; correct it"
        )
    y = torch.tensor([order.index(name) for name in table.tolist()], dtype=torch.int64, device="cpu")
    shown = ", ".join(order[:8]) + (f" and {len(order) - 8} more" if len(order) > 8 else "")
    return Labels(y, tuple(order), (f"labels are class names; they were read as the classes {shown}",))


def _repair(least: int, most: int, num_classes: int | None) -> str:
    if (least, most) == (-1, 1):
        return "of two classes, use 0 and 1: (y + 1) // 2"
    if least >= 1 and most == num_classes:
        return "they count from 1: use y - 1, or --class-map from-1"
    return "match data and model"


def as_tensor(value: Any) -> Tensor:
    """Returns `value` as a tensor on its memory, wherever that is; a read-only array is copied: tensors are writable.

    Raises:
        TypeError, ValueError, RuntimeError: Whatever torch says of a value that is no array of numbers.
    """
    if isinstance(value, np.ndarray) and not value.flags.writeable:
        value = value.copy()
    return value if isinstance(value, Tensor) else torch.as_tensor(value, device="cpu")


def names_of_classes(count: int, *known: Sequence[str] | None) -> tuple[str, ...]:
    """Returns what `count` classes are called: by the first names that are known, by numbers if those are not as many.

    Args:
        count: How many classes there are.
        *known: Names in the order of the class indices, by precedence: the model's, then the data's, say.
    """
    names = next(filter(None, known), ())
    return tuple(names) if len(names) == count else tuple(map(str, range(count)))


def _not_labels(found: str) -> InvalidEvaluation:
    return InvalidEvaluation(
        f"labels: expected integers (N,), (N, 1) or one-hot (N, K), got {found}; use y.long() or y.argmax(1)"
    )
