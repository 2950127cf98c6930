"""A schema as people write it, in TOML or as a dict, made certain by the table it is for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.toml_file import read_toml
from robustkit.data.schema import Feature, Kind, May, Schema

Columns = Mapping[str, NDArray[Any]]
TOP = ("label", "ignore", "budget", "default", "features")
DEFAULT = ("eps", "unit")
KEYS = ("kind", "eps", "unit", "low", "high", "may", "immutable", "cost", "columns", "values")
UNITS: dict[str, Callable[[NDArray[np.float64], float], float]] = {
    "own": lambda values, eps: eps,
    "std": lambda values, eps: eps * float(values.std()),
    # As wide as the middle `eps` of the values, so that 0.5 is the interquartile range.
    "quantile": lambda values, eps: float(np.subtract(*np.quantile(values, (0.5 + eps / 2, 0.5 - eps / 2)))),
}


def read_tree(schema: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Returns a schema as it was written, from a TOML file or as it is.

    Raises:
        ConfigurationError: If it is no file in TOML, or has a setting that is none.
    """
    tree = dict(schema) if isinstance(schema, Mapping) else read_toml(schema, "schema")
    _known(tree, TOP, "the schema")
    _known(tree.setdefault("default", {}), DEFAULT, "[default]")
    for name, settings in tree.setdefault("features", {}).items():
        _known(settings, KEYS, f"[features.{name}]")
    return tree


def resolved(tree: Mapping[str, Any], columns: Columns, name: str) -> Schema:
    """Returns the schema of a table: what is not said follows from its values, and every number is settled.

    Args:
        tree: From `read_tree`.
        columns: Of the features, in order.
        name: Of the table, for messages.

    Raises:
        ConfigurationError: If schema and table contradict each other.
    """
    owner: dict[str, str] = {}
    for feature, settings in tree["features"].items():
        for column in settings.get("columns", [feature]):
            if column not in columns:
                raise _refused(feature, f"a column of data '{name}'", column + suggest(column, columns), "correct it")
            if column in owner:
                raise _refused(feature, "columns of its own", f"{column}, which {owner[column]} has", "drop one")
            owner[column] = feature
    members: dict[str, list[str]] = {}
    for column in columns:
        members.setdefault(owner.get(column, column), []).append(column)
    places: dict[str, tuple[int, ...]] = {}
    kinds = {one: _kind(one, tree["features"].get(one, {}), columns, of) for one, of in members.items()}
    values = {one: _values(one, tree["features"].get(one, {}), kinds[one], columns, of) for one, of in members.items()}
    at = 0
    for column in columns:
        one = owner.get(column, column)
        width = len(values[one]) if kinds[one] == "category" and len(members[one]) == 1 else 1
        places[one] = (*places.get(one, ()), *range(at, at + width))
        at += width
    features = (
        _feature(one, tree, kinds[one], places[one], values[one], tuple(of), columns) for one, of in members.items()
    )
    return Schema(tuple(features), tree.get("label"))


def stuck(schema: Schema) -> list[str]:
    """Returns what a reader must know of features whose eps is too small for any change."""
    least = [
        min(np.diff(one.levels)) if one.levels else 1.0 if one.kind == "integer" or one.one_hot else 0.0
        for one in schema.features
    ]
    names = [one.name for one, step in zip(schema.features, least, strict=True) if 0 < one.eps < step]
    return [f"eps is less than one step of {', '.join(names)}, which so cannot change"] if names else []


def _feature(
    name: str,
    tree: Mapping[str, Any],
    kind: Kind,
    places: tuple[int, ...],
    values: Sequence[Any],
    of: tuple[str, ...],
    columns: Columns,
) -> Feature:
    """Returns one feature with every number settled."""
    settings = tree["features"].get(name, {})
    texts = any(isinstance(value, str) for value in values)
    levels = () if kind == "category" else tuple(map(float, range(len(values)) if texts else values))
    if kind == "category":
        held, low, high = np.array([0.0, 1.0]), 0.0 if len(places) > 1 else 1.0, 1.0
    elif levels:
        spelled = dict(zip(map(str, values), levels, strict=True)) if texts else None
        held = as_numbers(columns[of[0]], spelled)
        low, high = levels[0], levels[-1]
    else:
        held = as_numbers(columns[of[0]])
        held = held[np.isfinite(held)] if np.isfinite(held).any() else np.zeros(1)
        low, high = (_number(name, settings, end, float(f(held))) for end, f in _ENDS.items())
    may = settings.get("may", "change")
    if may not in get_args(May) or (kind == "category" and may != "change"):
        raise _refused(name, "may = 'rise', 'fall' or 'change', the last of a category", repr(may), "correct it")
    eps, said = _eps(name, tree, kind, held, high - low)
    cost = _number(name, settings, "cost", 1 / eps if eps else 0.0)
    if cost < 0:
        raise _refused(name, "a cost >= 0", f"{cost:g}", "correct it")
    return Feature(
        name=name, kind=kind, places=places, low=low, high=high, eps=eps, said=said, may=may, cost=cost,
        levels=levels, values=tuple(map(str, values)) if len(of) == 1 and (texts or kind == "category") else (),
        columns=of,
    )  # fmt: skip


_ENDS = {"low": np.min, "high": np.max}


def _eps(name: str, tree: Mapping[str, Any], kind: Kind, held: NDArray[np.float64], width: float) -> tuple[float, str]:
    """Returns how far a feature may change, in its own unit, and how that was said."""
    settings, common = tree["features"].get(name, {}), tree["default"]
    if settings.get("immutable", False):
        return 0.0, "fixed"
    if "eps" not in settings and "cost" in settings and "budget" in tree:
        cost = _number(name, settings, "cost", 1.0)
        if cost <= 0:
            raise _refused(name, "a cost > 0 beside a budget", f"{cost:g}", "give it an eps instead")
        eps = _number("budget", tree, "budget", 0.0) / cost
        return eps, f"{eps:g}, a budget of {tree['budget']:g} at {cost:g} each"
    chosen = settings if "eps" in settings else {} if kind in ("binary", "category") else common
    unit = chosen.get("unit", "own")
    if unit not in UNITS:
        raise _refused(name, f"a unit among {', '.join(UNITS)}", repr(unit), "correct it")
    if kind in ("binary", "category") and "eps" not in settings:
        return 1.0, "another value"
    if "eps" not in chosen:
        raise _refused(name, "an eps", "none", "add one, or [default] eps, or immutable = true")
    eps = _number(name, chosen, "eps", 0.0)
    if not eps >= 0 or (unit == "quantile" and eps > 1) or (kind == "category" and unit != "own"):
        raise _refused(name, "eps >= 0, a quantile <= 1, and of a category 1 or 0", f"{eps:g} {unit}", "correct it")
    if math.isinf(eps):
        return width, "anything in its range"
    return UNITS[unit](held, eps), f"{eps:g}" if unit == "own" else f"{eps:g} {unit}"


def _kind(name: str, settings: Mapping[str, Any], columns: Columns, of: Sequence[str]) -> Kind:
    """Returns what a feature is: as it is said, or as its cells look."""
    if len(of) > 1:
        kind = settings.get("kind", "category")
    else:
        kind = settings.get("kind") or ("category" if "values" in settings else _looks(columns[of[0]]))
    if kind not in get_args(Kind):
        near = suggest(str(kind), get_args(Kind))
        raise _refused(name, f"a kind among {', '.join(get_args(Kind))}", f"{kind!r}{near}", "correct it")
    if len(of) > 1 and kind != "category":
        raise _refused(name, "one column, unless it is a category", f"{len(of)}", "drop columns")
    found: Kind = kind
    return found


def _looks(cells: NDArray[Any]) -> Kind:
    if cells.dtype.kind == "b":
        return "binary"
    if cells.dtype.kind in "iu":
        return "integer"
    numbers = as_numbers(cells)
    if not np.isfinite(numbers).any():
        return "category"
    texts = [str(cell).strip() for cell in cells.tolist()] if cells.dtype.kind in "OUST" else [""]
    return "integer" if all(text.lstrip("+-").isdecimal() for text in texts) else "numeric"


def _values(name: str, settings: Mapping[str, Any], kind: Kind, columns: Columns, of: Sequence[str]) -> list[Any]:
    """Returns the values of a feature that has few, in their order: as they are said, or as they are found."""
    if kind in ("numeric", "integer"):
        if "values" in settings:
            raise _refused(name, "values only of a binary, ordinal or category", kind, "correct its kind")
        return []
    if len(of) > 1:
        return list(of)
    found = [str(cell).strip() for cell in columns[of[0]].tolist()]
    if "values" in settings:
        values = list(settings["values"])
    elif kind == "binary":
        values = [0, 1] if np.isfinite(as_numbers(columns[of[0]])).all() else sorted(set(found))
    elif kind == "ordinal":
        numbers = as_numbers(columns[of[0]])
        if not np.isfinite(numbers).all():
            raise _refused(name, "values, in their order", "none", "add values = ['low', 'high']")
        values = sorted(set(numbers.tolist()))
    else:
        values = sorted(set(found))
    texts = [isinstance(value, str) for value in values]
    ascending = all(texts) or values == sorted(values)
    if kind == "category":
        values = [str(value) for value in values]
    if (
        len(set(map(str, values))) < len(values)
        or (any(texts) and not all(texts))
        or (not ascending and kind != "category")
    ):
        raise _refused(name, "different values, all texts or numbers in ascending order", str(values), "correct them")
    if (kind == "binary" and len(values) != 2) or not values:
        raise _refused(name, "two values of a binary", str(values)[:80], "correct them, or the kind")
    return values


def as_numbers(cells: NDArray[Any], spelled: Mapping[str, float] | None = None) -> NDArray[np.float64]:
    """Returns a column as float32 numbers, in float64, NaN where a cell is none, or not among those `spelled`."""
    read: Any
    if spelled is not None:
        read = [spelled.get(str(cell).strip(), math.nan) for cell in cells.tolist()]
    elif cells.dtype.kind in "biuf":
        read = cells.astype(np.float64)
    else:
        read = [_cell(cell) for cell in cells.tolist()]
    with np.errstate(over="ignore"):
        return np.asarray(read, dtype=np.float64).astype(np.float32).astype(np.float64)


def _cell(cell: Any) -> float:
    try:
        return float(cell) if not (isinstance(cell, str) and "_" in cell) else math.nan
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _number(name: str, settings: Mapping[str, Any], key: str, otherwise: float) -> float:
    value = settings.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise _refused(name, f"a number as {key}", repr(value), "correct it")
    return float(value)


def _known(settings: Any, keys: Sequence[str], where: str) -> None:
    if not isinstance(settings, Mapping):
        raise ConfigurationError(f"schema: expected settings in {where}, got {settings!r}; write them as key = value")
    for key in settings:
        if key not in keys:
            raise ConfigurationError(
                f"schema: expected settings {', '.join(keys)} in {where}, got {key!r}{suggest(str(key), keys)}"
            )


def _refused(name: str, expected: str, got: str, todo: str) -> ConfigurationError:
    return ConfigurationError(f"schema, feature '{name}': expected {expected}, got {got}; {todo}")
