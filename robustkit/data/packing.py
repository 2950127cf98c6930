"""Dicts of several inputs as data: one of them is attacked, the others are passed on with their samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, suggest
from robustkit.base.per_coordinate import Bounds, as_array, bounds_of, per_coordinate
from robustkit.base.settings import instance, shown
from robustkit.data.dataset import Dataset
from robustkit.data.layout import TOKENS, Layout, Part
from robustkit.data.named_inputs import read_named_inputs

MASKS = ("attention_mask", "lengths")  # 1 where there is something, and how long it is
_WHOLE = 2**24  # float32 holds every whole number up to here
_LEAST = 1e-3  # half of the range of inputs that are all 0


def pack(
    source: Any,
    attacked: str,
    *,
    passed: Sequence[str] | None = None,
    padding: str | None = "auto",
    bounds: Any = None,
    name: str = "data",
    class_names: Sequence[str] | None = None,
) -> Dataset:
    """Returns data whose samples are rows that hold several inputs, for a model behind `robustkit.model.Unpacked`.

    Attacks change the input called `attacked` alone, and nothing of it that is padding, to the last bit. All samples
    are read once and held in memory. Where they are of different lengths along the first axis of the attacked input,
    it and whatever is as long are padded with zeros at the end, if a mask or a length says so.

    Args:
        source: A data set or a list of samples, a loader of batches, or one batch of all samples, as dicts with a label
            (`y`, `label` or `labels`) and maybe an `id`.
        attacked: Name of the input to attack: floating point, (...) a sample.
        passed: Names of the inputs that the model gets as they are, numbers or booleans; by default all others that
            hold any. Whole numbers must lie within 2**24, which float32 holds exactly.
        padding: Name of the one that says what is padding: a mask over the first axes of the attacked input (or its
            last ones), 0 at padding; or a length along its first axis. "auto" is `attention_mask` or `lengths`,
            whichever is there. None: nothing is padding.
        bounds: Lowest and highest legal value of the attacked input, numbers or arrays that broadcast to it. None takes
            twice the largest size found, either way, and a note in the report says so.
        name: What reports call the data.
        class_names: One name per class index.

    Raises:
        ConfigurationError: If a name is not there, or a mask has two readings.
        InvalidEvaluation: If samples hold something else than numbers of one shape, or a mask is none.
    """
    instance("data", "attacked", attacked, str)
    found = read_named_inputs(source, attacked, passed)
    dtype = found.columns[attacked][0].dtype
    if not dtype.is_floating_point:
        raise InvalidEvaluation(
            f"data: expected floating-point numbers in {attacked}, got {dtype}; "
            + (TOKENS if dtype in (torch.int32, torch.int64) else "convert them (bytes: x.float() / 255)")
        )
    x, layout = lay_out(found.columns, attacked, find_padding(padding, [*found.columns][1:]))
    notes: tuple[str, ...] = ()
    if bounds is None:
        most = 2 * max(float(x[:, : layout.attacked.size].abs().max()), _LEAST)
        bounds, notes = (-most, most), (f"{attacked} was taken to range up to twice its largest size, {most:g}",)
    return Dataset(
        name=name,
        source=found.source(x),
        bounds=packed_bounds(bounds, x, layout),
        class_names=class_names,  # type: ignore[arg-type]  # which Dataset makes a tuple
        notes=notes,
        layout=layout,
    )


def find_padding(said: Any, passed: Sequence[str]) -> str | None:
    """Returns which input says what is padding, as `pack` takes it.

    Raises:
        ConfigurationError: If there is none of that name, or nobody said what a mask of another name means.
    """
    if said is None:
        return None
    if said != "auto":
        if said in passed:
            return str(said)
        raise ConfigurationError(
            f"data: expected padding to name an input that is passed on, got {shown(said)}"
            + (suggest(str(said), passed) if passed else "; correct it")
        )
    known = [name for name in MASKS if name in passed]
    if len(known) == 1:
        return known[0]
    if unclear := [name for name in passed if any(word in name.lower() for word in ("mask", "len", "pad"))]:
        raise ConfigurationError(
            f"data: expected to be told which input says what is padding, got {' and '.join(unclear)}; give its name as"
            " padding=, a length or a mask that is 0 at padding, or None where nothing is"
        )
    return None


def lay_out(columns: Mapping[str, list[Tensor]], attacked: str, padding: str | None) -> tuple[Tensor, Layout]:
    """Returns named inputs as rows (N, width), in the precision of the attacked one or float32; and their layout.

    Args:
        columns: By name, a tensor for each of N samples.
        attacked: The name of the one that comes first.
        padding: The name of the one that says what is padding.

    Raises:
        ConfigurationError: If that does not fit the attacked input.
        InvalidEvaluation: If shapes differ where no zeros may be added, or numbers do not fit into a row.
    """
    columns = dict(columns) if padding is None else _as_long(columns, attacked)
    parts, values = [], []
    for name in (attacked, *(name for name in columns if name != attacked)):
        shapes = sorted({tuple(row.shape) for row in columns[name]})
        if len(shapes) > 1:
            raise InvalidEvaluation(
                f"data: expected {name} of one shape, got {shapes[0]} and {shapes[-1]}; pad it, with a mask or lengths"
            )
        stacked = torch.stack(columns[name])
        if not bool(stacked.isfinite().all()):
            raise InvalidEvaluation(f"data: expected finite numbers in {name}, got NaN or infinity; clean the data")
        parts.append(Part(name, shapes[0], _kind(name, stacked)))
        values.append(stacked.reshape(len(stacked), -1))
    layout = Layout(tuple(parts), padding)
    dtype = torch.promote_types(values[0].dtype, torch.float32) if parts[0].kind == "float" else torch.float32
    x = torch.cat([value.to(dtype) for value in values], dim=1) + 0.0  # +0: what is fixed has no negative zeros
    _check_padding(x, layout)
    return x, layout


def packed_bounds(bounds: Any, x: Tensor, layout: Layout) -> Bounds:
    """Returns the range of every number of a row: as given for the attacked input, as found for what is passed on.

    Args:
        bounds: Of the attacked input, as `pack` takes them.
        x: All rows, of which only what is passed on is looked at, at the end of each.
        layout: With the attacked input whose range it is.

    Raises:
        ConfigurationError: If the bounds do not broadcast to it.
    """
    rest = x[:, x.shape[1] - (layout.width - layout.attacked.size) :].double().numpy()
    try:
        low, high = (
            np.broadcast_to(as_array(end), layout.attacked.shape) for end in bounds_of("data", "bounds", bounds)
        )
    except ValueError:
        raise ConfigurationError(
            f"data: expected bounds that broadcast to {layout.attacked.name} {layout.attacked.shape}, got"
            f" {shown(bounds)}; correct them"
        ) from None
    # One more than found: what is passed on lies at no end of its range, where checks look for other gradients.
    ends = (np.concatenate([low.ravel(), rest.min(axis=0) - 1]), np.concatenate([high.ravel(), rest.max(axis=0) + 1]))
    return per_coordinate("data", "bounds", ends[0]), per_coordinate("data", "bounds", ends[1])


def _kind(name: str, values: Tensor) -> Any:
    if values.is_floating_point() or values.dtype == torch.bool:
        return "float" if values.is_floating_point() else "boolean"
    most = int(values.abs().max()) if values.numel() else 0
    if values.is_complex() or most > _WHOLE:
        raise InvalidEvaluation(
            f"data: expected whole numbers up to {_WHOLE:,} in {name}, got {most:,}; name what is needed in passed="
        )
    return "integer"


def _as_long(columns: Mapping[str, list[Tensor]], attacked: str) -> dict[str, list[Tensor]]:
    """Returns the inputs, those that are as long as the attacked one in every sample as long as its longest."""
    lengths = [row.shape[0] if row.ndim else 0 for row in columns[attacked]]
    longest, filled = max(lengths), dict(columns)
    if min(lengths) < longest:
        for name, rows in columns.items():
            if all(row.ndim and row.shape[0] == length for row, length in zip(rows, lengths, strict=True)):
                filled[name] = [torch.cat([row, row.new_zeros(longest - len(row), *row.shape[1:])]) for row in rows]
    return filled


def _check_padding(x: Tensor, layout: Layout) -> None:
    """Raises InvalidEvaluation where a mask holds other numbers than 0 and 1, or a sample is all padding."""
    if layout.padding is None:
        return
    said, most = layout.split(x)[layout.padding], layout.attacked.shape[0]
    legal = (said >= 0) & (said <= most) if said.ndim == 1 else (said == 0) | (said == 1)
    if not bool(legal.all()):
        expected = f"lengths up to {most}" if said.ndim == 1 else "1, and 0 at padding,"
        raise InvalidEvaluation(
            f"data: expected {expected} in {layout.padding}, got {float(said[~legal][0]):g}; correct it or padding="
        )
    empty = ~layout.real(x).flatten(1).any(dim=1)
    if bool(empty.any()):
        raise InvalidEvaluation(
            f"data: expected more than padding in every sample, got none in row {int(empty.nonzero()[0])}; drop it"
        )
