"""A table as inputs of a model by its schema, and inputs as a table again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustkit.base.errors import ConfigurationError
from robustkit.data.read_schema import as_numbers
from robustkit.data.schema import Feature, Schema


def encode(schema: Schema, columns: Mapping[str, NDArray[Any]], name: str) -> Tensor:
    """Returns the records of a table as float32 (N, F); a category in one column takes as many inputs as it has values.

    Raises:
        ConfigurationError: If there are other columns, or a cell is none that its feature can have; it names both.
    """
    wanted = [column for one in schema.features for column in one.columns]
    if sorted(wanted) != sorted(columns):
        strange = sorted(set(columns) ^ set(wanted))[0]
        state = "also" if strange in columns else "no column"
        raise ConfigurationError(
            f"data '{name}': expected the columns of the schema, got {state} {strange!r}; correct one of them"
        )
    x = np.zeros((len(next(iter(columns.values()))), schema.width), dtype=np.float32)
    for one in schema.features:
        held, bad = _inputs(one, columns)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            got = ", ".join(f"{str(columns[column][row])[:40]!r}" for column in one.columns[:4])
            more = f" and in {int(bad.sum()) - 1} more rows" if bad.sum() > 1 else ""
            raise ConfigurationError(
                f"data '{name}': expected {expected(one)} in row {row + 1} of '{one.name}', got {got}{more}; correct"
                " the table or the schema"
            )
        x[:, list(one.places)] = held
    return torch.from_numpy(x)


def _inputs(one: Feature, columns: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Returns the inputs (N, places) of one feature, and in which rows they are none."""
    if one.one_hot and len(one.columns) == 1:
        places = {value: float(place) for place, value in enumerate(one.values)}
        chosen = as_numbers(columns[one.columns[0]], places)
        bad = np.isnan(chosen)
        return np.eye(len(one.values))[np.where(bad, 0, chosen).astype(int)], bad
    if one.one_hot:
        held = np.stack([as_numbers(columns[column]) for column in one.columns], axis=1)
        return held, ~(((held == 0) | (held == 1)).all(axis=1) & (held.sum(axis=1) == 1))
    spelled = dict(zip(one.values, one.levels, strict=True)) if one.values else None
    held = as_numbers(columns[one.columns[0]], spelled)
    fine = (held >= np.float32(one.low)) & (held <= np.float32(one.high))
    if one.kind == "integer":
        fine &= held == np.round(held)
    elif one.levels:
        fine &= np.isin(held, np.array(one.levels, dtype=np.float32))
    return held[:, None], ~fine


def expected(one: Feature) -> str:
    """Returns in words what a feature can be."""
    if one.one_hot:
        return f"one of {', '.join(one.values)}" if len(one.columns) == 1 else "exactly one 1 and else 0"
    if one.values or one.levels:
        return f"one of {', '.join(one.values or [f'{level:g}' for level in one.levels])}"
    return f"{'a whole number' if one.kind == 'integer' else 'a number'} in {one.low:g}..{one.high:g}"


def decode(schema: Schema, x: NDArray[np.floating[Any]]) -> dict[str, NDArray[Any]]:
    """Returns inputs (N, F) as the columns of the table, by name and with its values."""
    columns: dict[str, NDArray[Any]] = {}
    for one in schema.features:
        held = x[:, list(one.places)]
        if one.one_hot and len(one.columns) == 1:
            columns[one.columns[0]] = np.array(one.values, dtype=object)[held.argmax(axis=1)]
        elif one.values:
            columns[one.columns[0]] = np.array(one.values, dtype=object)[np.searchsorted(one.levels, held[:, 0])]
        else:
            columns |= {column: held[:, number] for number, column in enumerate(one.columns)}
    return columns
