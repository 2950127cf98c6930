"""What a command answers with `--json`: one JSON document on standard output, and nothing else there."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import click

_parts: ContextVar[dict[str, Any] | None] = ContextVar("parts", default=None)


def as_json() -> bool:
    """Whether a JSON document is asked for, so that nothing else may be printed on standard output."""
    return _parts.get() is not None


def answer(value: Any = None, /, **more: Any) -> None:
    """Adds the fields of a dataclass or a mapping, and more by name, to the document, if one is asked for.

    A function is called only then, for what takes a while to put together.
    """
    if (parts := _parts.get()) is not None:
        parts.update({**(plain(value() if callable(value) else value) or {}), **plain(more)})


def answer_file(path: str | Path) -> None:
    """Adds the path of a file that was written."""
    if (parts := _parts.get()) is not None:
        parts.setdefault("files", []).append(str(path))


@contextmanager
def answering() -> Iterator[None]:
    """Context in which answers are collected, to be printed when all went well.

    What other code prints goes to standard error. A command within a command adds to the document of the outer one.
    """
    if as_json():
        yield
        return
    parts: dict[str, Any] = {}
    token = _parts.set(parts)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _parts.reset(token)
    if parts:
        click.echo(json.dumps(parts, indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """Returns a value as JSON has it: a dataclass is an object, a number that is not finite null."""
    value = value.item() if hasattr(value, "item") else value  # of numpy and torch
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
