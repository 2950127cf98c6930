"""The sets of named tensors that a checkpoint holds, each under its dotted key."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError, suggest

DEPTH = 4


@dataclass(frozen=True)
class WeightSet:
    """A state dict in a file.

    Attributes:
        key: Where it lies, such as "state_dict_ema" or "model.state_dict"; "" at the top.
        values: Tensors, and whatever else the module expects, by name.
        metadata: What torch keeps with a state dict: the version of each part, by its name.
        rest: How many names of the same state dict are left out, because `key` chose a part of it.
    """

    key: str
    values: Mapping[str, Any]
    metadata: Mapping[str, Any] | None = None
    rest: int = 0


def sets_in(content: Any, others: Collection[str], path: Path) -> list[WeightSet]:
    """Returns all state dicts in what a checkpoint holds.

    Args:
        content: What `read_checkpoint` returns.
        others: Names the module has for values that are no tensors, such as extra state.
        path: The file, for messages.

    Raises:
        ConfigurationError: If there is none.
    """
    endings = ("_extra_state", *others)
    sets = list(_walk(content, "", endings, DEPTH))
    if not sets:
        keys = ", ".join(map(str, [*content][:6])) if isinstance(content, Mapping) else None
        got = f"a dict of {keys}" if keys is not None else type(content).__name__
        raise ConfigurationError(
            f"weights '{path}': expected named tensors, at the top or under a key, got {got}; save module.state_dict()"
        )
    return sets


def below(sets: Sequence[WeightSet], key: str | None, path: Path) -> list[WeightSet]:
    """Returns the sets at or below `key`, or the part of one whose names begin with it; all where it is None.

    Raises:
        ConfigurationError: If there is nothing under that key.
    """
    if key is None:
        return list(sets)
    chosen = [one for one in sets if one.key == key or one.key.startswith(f"{key}.")]
    chosen = chosen or [part for one in sets if (part := _part(one, key))]
    if not chosen:
        keys = [one.key for one in sets if one.key]
        fix = suggest(key, keys) if keys else "; leave it out, because the weights lie at the top"
        raise ConfigurationError(f"weights '{path}': expected a key with weights below it, got {key!r}{fix}")
    return chosen


def prefixes(names: Collection[str]) -> list[str]:
    """Returns every dotted beginning of the names, such as "a." and "a.b." for "a.b.weight"."""
    parts = [name.split(".") for name in names]
    return list(dict.fromkeys(".".join(p[:n]) + "." for p in parts for n in range(1, len(p))))


def _part(one: WeightSet, key: str) -> WeightSet | None:
    if one.key and not key.startswith(f"{one.key}."):
        return None
    start = key.removeprefix(f"{one.key}." if one.key else "") + "."
    values = {name.removeprefix(start): value for name, value in one.values.items() if name.startswith(start)}
    versions = None
    if one.metadata is not None:
        versions = {f"{name}.".removeprefix(start).rstrip("."): v for name, v in one.metadata.items()}
    return WeightSet(key, values, versions, len(one.values) - len(values)) if values else None


def _walk(content: Any, key: str, endings: tuple[str, ...], depth: int) -> Iterator[WeightSet]:
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        return
    values = {name: _tensor(value) for name, value in content.items()}
    tensors = [name for name, value in values.items() if isinstance(value, Tensor)]
    if tensors and all(name.endswith(endings) for name in values.keys() - set(tensors)):
        yield WeightSet(key, values, getattr(content, "_metadata", None))
    elif depth:
        for name, inner in content.items():
            yield from _walk(inner, f"{key}.{name}" if key else name, endings, depth - 1)


def _tensor(value: Any) -> Any:
    numbers = isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.isnative
    return torch.from_numpy(value) if numbers else value
