"""What people give as data, whatever it is, as a `Dataset`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from torch import Tensor

from robustkit.base.per_coordinate import Bounds
from robustkit.data.dataset import Dataset, are_columns
from robustkit.data.labels import INTEGERS, read_labels
from robustkit.data.repeatability import steady
from robustkit.data.tables import frame_numbers, from_frame, is_frame


def as_dataset(data: Any, bounds: Bounds = (0.0, 1.0)) -> Dataset:
    """Returns data that give the same samples every time, with integers as labels.

    Args:
        data: Whatever `robustkit.data.batches` reads; a DataFrame with a column of labels; or a pair (x, y) in which x
            may be a DataFrame and y anything `robustkit.data.labels.read_labels` reads.
        bounds: Lowest and highest legal value, where the data do not say so themselves.

    Raises:
        ConfigurationError: If a table cannot be read, or a second reading gives something else.
        InvalidEvaluation: If labels have no plain reading.
    """
    if is_frame(data):
        return from_frame(data, bounds=bounds)
    dataset = data if isinstance(data, Dataset) else Dataset(name="data", source=data, bounds=bounds)
    source = dataset.source
    if is_frame(source):
        table = from_frame(source, bounds=dataset.bounds, name=dataset.name)
        return dataclasses.replace(table, split=dataset.split, notes=(*dataset.notes, *table.notes))
    if are_columns(source) or (isinstance(source, (tuple, list)) and len(source) in (2, 3) and is_frame(source[0])):
        return _columns(dataset)
    return steady(dataset)


def _columns(dataset: Dataset) -> Dataset:
    """Returns a pair (x, y) or triple (x, y, ids) with tensors or arrays as x and class indices as y."""
    x, *rest = dataset.source
    if is_frame(x):
        x = frame_numbers(x, dataset.name)
    if not rest or len(rest) > 2 or _plain(rest[0]):
        return dataclasses.replace(dataset, source=(x, *rest))
    ids = [column.tolist() if is_series(column) else column for column in rest[1:]]
    labels = read_labels(rest[0], dataset.class_names)
    return dataclasses.replace(
        dataset,
        source=(x, labels.y, *ids),
        class_names=dataset.class_names or labels.names,
        labelled_by_name=dataset.labelled_by_name or labels.names is not None,
        notes=(*dataset.notes, *labels.notes),
    )


def is_series(value: Any) -> bool:
    """Returns whether `value` is a pandas Series, without importing pandas."""
    return all(hasattr(value, name) for name in ("index", "iloc", "to_numpy"))


def _plain(y: Any) -> bool:
    """Returns whether labels are integers as they stand, or so odd that whoever reads them has to say so."""
    if isinstance(y, Tensor):
        return y.dtype in INTEGERS or y.is_complex()
    return isinstance(y, np.ndarray) and y.dtype.kind in "iu"
