"""Labels in every spelling people use, read as one: class indices (N,) in int64; and what the classes are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.base.errors import InvalidEvaluation

INTEGERS = (
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)


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
    outside = labels < 0
    if num_classes is not None:
        outside |= labels >= num_classes
    if outside.any():
        expected = "0 or more" if num_classes is None else f"0..{num_classes - 1} for {num_classes} classes"
        raise InvalidEvaluation(
            f"labels: expected {expected}, got {int(labels.min())}..{int(labels.max())}"
            f" (first at position {int(outside.nonzero()[0])}); match data and model"
        )
    return labels


def as_tensor(value: Any) -> Tensor:
    """Returns `value` as a tensor on its memory; a read-only array is copied, since tensors are writable.

    Raises:
        TypeError, ValueError, RuntimeError: Whatever torch says of a value that is no array of numbers.
    """
    if isinstance(value, np.ndarray) and not value.flags.writeable:
        value = value.copy()
    return torch.as_tensor(value)


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
