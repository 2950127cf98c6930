"""Dicts of named inputs, one a sample or a batch, read into one list of tensors for each name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, suggest
from robustkit.base.foreign_code import foreign, foreign_items
from robustkit.base.settings import plain, shown
from robustkit.data.dataset import FIELD_NAMES, read_ids
from robustkit.data.labels import as_labels, as_tensor


@dataclass(frozen=True)
class NamedInputs:
    """All samples of some data.

    Attributes:
        columns: By name, a tensor for each sample; the attacked input first.
        y: Labels (N,).
        ids: Of the samples, where they have any.
    """

    columns: dict[str, list[Tensor]]
    y: Tensor
    ids: list[Any] | None

    def source(self, x: Any) -> tuple[Any, ...]:
        """Returns `x` with labels and ids, as `robustkit.data.batches` reads columns."""
        return (x, self.y) if self.ids is None else (x, self.y, self.ids)


def read_named_inputs(source: Any, attacked: str, passed: Sequence[str] | None = None) -> NamedInputs:
    """Returns the inputs of all samples by name.

    Args:
        source: A data set or list of samples, a loader of batches, or one batch, as dicts with labels and maybe ids.
        attacked: The name of one that must be there.
        passed: Names of the others; None takes those that hold numbers in the first dict.

    Raises:
        ConfigurationError: If these are no dicts, or a name is not there.
        InvalidEvaluation: If there are no samples, or they hold something else than numbers.
    """
    if passed is not None:
        passed = [passed] if isinstance(passed, str) else list(passed)
    columns: dict[str, list[Tensor]] = {}
    labels: list[Tensor] = []
    ids: list[Any] = []
    for item in _items(source):
        label, id = (next((item[key] for key in FIELD_NAMES[role] if key in item), None) for role in ("y", "id"))
        if attacked not in item or label is None:
            raise ConfigurationError(
                f"data: expected dicts with {attacked} and a label (y, label or labels), got"
                f" {', '.join(map(str, item))}"
                + ("; add one" if attacked in item else suggest(attacked, [*map(str, item)]))
            )
        if not columns:
            others = _numeric(item, attacked) if passed is None else [name for name in passed if name != attacked]
            columns = {name: [] for name in (attacked, *others)}
        single = getattr(label, "ndim", 0) == 0 and not isinstance(label, list | tuple)
        y = as_labels([plain(label)] if single else label)
        for name, kept in columns.items():
            rows = _rows(item, name, single)
            if len(rows) != len(y):
                raise InvalidEvaluation(
                    f"data: expected one {name} for each label, got {len(rows)} for {len(y)}; re-pack them"
                )
            kept.extend(rows)
        labels.append(y.cpu())
        ids += [] if id is None else [plain(id)] if single else getattr(id, "tolist", lambda given=id: given)()
    if not labels:
        raise InvalidEvaluation("data: expected at least one sample, got none; give a list, a data set or a loader")
    y = torch.cat(labels)
    if ids:
        read_ids(ids, len(y))
    return NamedInputs(columns, y, ids or None)


def _items(source: Any) -> Iterator[Mapping[str, Any]]:
    indexed = not hasattr(source, "__iter__") and hasattr(source, "__getitem__") and hasattr(source, "__len__")
    if not indexed and not hasattr(source, "__iter__"):
        raise ConfigurationError(f"data: expected dicts of inputs, got {shown(source)}; give a list or a loader")
    with foreign("the data"):
        if isinstance(source, Mapping):
            source = [source]
        items = (source[at] for at in range(len(source))) if indexed else iter(source)
    for item in foreign_items("the data", items):
        if not isinstance(item, Mapping):
            raise ConfigurationError(
                f"data: expected dicts of named inputs, got {type(item).__name__}; plain (x, y) need no packing"
            )
        yield item


def _numeric(item: Mapping[str, Any], attacked: str) -> list[str]:
    """Returns the names of what else holds numbers."""
    aside = {attacked, *FIELD_NAMES["y"], *FIELD_NAMES["id"]}
    return [name for name, value in item.items() if name not in aside and _numbers(value)]


def _numbers(value: Any) -> bool:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    return isinstance(value, Tensor | bool | int | float) or (kind is not None and kind in "biuf")


def _rows(item: Mapping[str, Any], name: str, single: bool) -> list[Tensor]:
    """Returns one input of a dict, a tensor for each of its samples."""
    if name not in item:
        raise ConfigurationError(
            f"data: expected an input called {name}, got {', '.join(map(str, item))}{suggest(name, [*map(str, item)])}"
        )
    try:
        rows = [item[name]] if single else item[name]
        return [as_tensor(row if isinstance(row, Tensor) else np.asarray(row)).detach().cpu() for row in rows]
    except (TypeError, ValueError, RuntimeError):
        raise InvalidEvaluation(
            f"data: expected numbers in {name}, got {shown(item[name])}; name what the model needs in passed="
        ) from None
