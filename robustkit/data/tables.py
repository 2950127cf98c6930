"""Tables as data: a column of labels, perhaps one of ids, and numbers in all the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.per_coordinate import Bounds, bounds_of, by_coordinate, overall
from robustkit.base.settings import instance
from robustkit.base.settings import shown as in_short
from robustkit.data.class_names import TOO_LONG
from robustkit.data.dataset import Dataset
from robustkit.data.encode import encode
from robustkit.data.labels import read_labels
from robustkit.data.read_schema import read_tree, resolved, stuck
from robustkit.data.schema import Schema

LABELS, IDS = ("label", "labels", "y", "target", "targets", "class"), ("id", "ids")
Columns = Mapping[str, NDArray[Any]]
Written = str | Path | Mapping[str, Any] | Schema
_SHOWN = 6  # columns that a note names


def is_frame(value: Any) -> bool:
    """Returns whether `value` is a pandas DataFrame, without importing pandas."""
    return all(hasattr(value, name) for name in ("columns", "iloc", "to_numpy"))


def from_frame(
    frame: Any,
    label_column: str | None = None,
    bounds: Bounds | None = None,
    name: str = "table",
    schema: Written | None = None,
) -> Dataset:
    """Returns a DataFrame as data; samples are called by its index where that is not just their number.

    Args:
        frame: A pandas DataFrame.
        label_column: As for `from_columns`, and so on.
        bounds: See there.
        name: See there.
        schema: See there.

    Raises:
        ConfigurationError: If it is no DataFrame, or as `from_columns` does.
    """
    if not all(hasattr(frame, part) for part in ("columns", "index", "iloc")):
        raise ConfigurationError(
            f"data '{name}': expected a pandas DataFrame, got {in_short(frame)}; give arrays to Dataset"
        )
    columns = _columns_of(frame, name)
    index = frame.index.tolist()
    named = index != list(range(len(index))) and len(set(index)) == len(index)
    texts, numbers = (all(isinstance(id, kind) for id in index) for kind in (str, int))
    if named and not set(columns) & set(IDS) and (texts or (numbers and min(index) >= 0)):
        columns["id"] = np.array(index, dtype=object)
    return from_columns(columns, label_column, bounds, name, schema)


def from_columns(
    columns: Columns,
    label_column: str | None = None,
    bounds: Bounds | None = None,
    name: str = "table",
    schema: Written | None = None,
) -> Dataset:
    """Returns a table as data, its features as float32 in the order of the columns.

    Args:
        columns: Values by name, all equally many.
        label_column: The column of labels, read as by `robustkit.data.labels.read_labels`; by default the one called
            as in `LABELS`. A column called id has the ids.
        bounds: Lowest and highest legal value; by default 0..1, if all values lie there.
        name: What reports call it.
        schema: What the features are and how far each may change: a TOML file, the same as a dict, or what
            `Schema.to_text` wrote. The data then have it as `schema`, and the bounds that it gives.

    Raises:
        ConfigurationError: If there is no such column or several, a cell is no number, or values leave the bounds; the
            message names row and column.
    """
    if isinstance(schema, str) and schema.lstrip().startswith("{"):
        schema = Schema.from_text(schema)
    known = schema if isinstance(schema, Schema) else None
    tree = {} if schema is None or isinstance(schema, Schema) else read_tree(schema)
    label = label_column_of(columns, label_column or (known.label if known else tree.get("label")), name)
    id = next((column for column in columns if column.lower() in IDS and column != label), None)
    left_out = (label, id, *tree.get("ignore", ()))
    features = {column: values for column, values in columns.items() if column not in left_out}
    if known is not None:  # it tells what was left out
        kept = {column for one in known.features for column in one.columns}
        features = {column: values for column, values in features.items() if column in kept}
    known = resolved(tree, features, name) if tree else known
    x = numbers(features, name) if known is None else encode(known, features, name)
    try:
        y = read_labels(columns[label])
    except InvalidEvaluation as error:
        raise ConfigurationError(f"data '{name}', column '{label}': {error}") from error
    bounds = _checked_bounds(x, bounds, name) if known is None else known.bounds
    shown = ", ".join([*features][:_SHOWN]) + (", ..." if len(features) > _SHOWN else "")
    within = "all perturbed within one eps" if known is None else f"perturbed as the schema says ({known.digest})"
    note = f"features are the {len(features)} columns {shown}, {within}; labels are '{label}'"
    ids = () if id is None else (read_ids(columns[id]),)
    return Dataset(
        name=name,
        source=(x, y.y, *ids),
        bounds=bounds,
        class_names=y.names,
        labelled_by_name=y.names is not None,
        notes=(note, *y.notes, *(() if known is None else stuck(known))),
        feature_names=tuple(features),
        schema=known,
    )


def numbers(columns: Columns, name: str = "table") -> Tensor:
    """Returns columns of numbers as float32 (N, F).

    Raises:
        ConfigurationError: If there is no column, or a cell is missing or no finite number.
    """
    if not columns:
        raise ConfigurationError(f"data '{name}': expected columns of numbers beside the labels, got none; add them")
    table = np.stack([_numbers(column, values, name) for column, values in columns.items()], axis=1)
    return torch.from_numpy(table.astype(np.float32))


def frame_numbers(frame: Any, name: str = "table") -> Tensor:
    """Returns a DataFrame of numbers alone as float32 (N, F); raises ConfigurationError as `numbers` does."""
    return numbers(_columns_of(frame, name), name)


def _columns_of(frame: Any, name: str) -> dict[str, NDArray[Any]]:
    names = [str(column) for column in frame.columns]
    refuse_repeated(names, name)
    return {column: frame.iloc[:, place].to_numpy() for place, column in enumerate(names)}


def refuse_repeated(names: Sequence[str], name: str) -> None:
    """Raises ConfigurationError if two columns have one name."""
    twice = next((column for column in names if names.count(column) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"data '{name}': expected different names of columns, got {twice!r} twice; rename one")


def label_column_of(columns: Columns, label_column: str | None, name: str) -> str:
    """Returns the column that has the labels: `label_column`, or the one called as in `LABELS`.

    Raises:
        ConfigurationError: If there is none, or several.
    """
    there = ", ".join(columns)
    if label_column is not None:
        instance(f"data '{name}'", "label_column", label_column, str)
        if label_column not in columns:
            raise ConfigurationError(f"data '{name}': expected a column '{label_column}', got {there}; correct it")
        return label_column
    found = [column for column in columns if column.strip().lower() in LABELS]
    if len(found) != 1:
        got = ", ".join(found) or there
        raise ConfigurationError(
            f"data '{name}': expected one column of labels, called {' or '.join(LABELS)}, got {got}; name it:"
            " --label-column, or label_column= in Python"
        )
    return found[0]


def _numbers(column: str, values: NDArray[Any], name: str) -> NDArray[np.float64]:
    if values.dtype.kind in "biuf":
        read = values.astype(np.float64)
    else:
        read = np.array([_number(cell) for cell in values.tolist()], dtype=np.float64)
    bad = np.flatnonzero(~(np.abs(read) <= np.finfo(np.float32).max))
    if len(bad):
        row = int(bad[0])
        more = f" and {len(bad) - 1} more rows" if len(bad) > 1 else ""
        raise ConfigurationError(
            f"data '{name}': expected a finite number in row {row + 1} of column '{column}', got"
            f" {str(values[row])[:40]!r}{more}; fill it in, or leave out the column or the rows"
        )
    return read


def _number(cell: Any) -> float:
    spelled = isinstance(cell, str) and "_" not in cell
    try:
        return float(cell) if spelled or isinstance(cell, (bool, int, float)) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def read_ids(values: NDArray[Any]) -> list[str | int]:
    """Returns ids as integers where all are, else as text."""
    texts = [str(id).strip() for id in values.tolist()]
    whole = all(len(text) < TOO_LONG and text.isdecimal() for text in texts)
    return [int(text) for text in texts] if whole else list(texts)


def _checked_bounds(x: Tensor, bounds: Bounds | None, name: str) -> Bounds:
    """Returns the bounds; raises ConfigurationError if values leave them, which is how attacks could go on."""
    bounds = bounds_of(f"data '{name}'", "bounds", bounds or (0.0, 1.0))
    if by_coordinate(*bounds):
        return bounds  # which the classifier holds every coordinate against
    low, high = overall(bounds)
    if not len(x) or (float(x.min()) >= low and float(x.max()) <= high):
        return low, high
    least, most = float(x.min()), float(x.max())
    step = 10.0 ** math.floor(math.log10(max(most - least, abs(most), 1e-30)) - 1)
    wide = f"{math.floor(least / step) * step:.6g}", f"{math.ceil(most / step) * step:.6g}"
    raise ConfigurationError(
        f"data '{name}': expected values within {low:g}..{high:g}, got {least:.6g}..{most:.6g}; say what values can be,"
        f" such as --bounds={wide[0]},{wide[1]}, or Classifier(model, bounds=({wide[0]}, {wide[1]})) in Python"
    )
