"""Packages whose names are those of one of their modules, loaded with the first of them that is used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def offered_by(module: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the `__getattr__` and `__dir__` of a package that offers what is in `__all__` of `module`."""

    def find(name: str) -> Any:
        found = import_module(module)
        if name in ("__all__", *found.__all__):
            return getattr(found, name)
        raise AttributeError(f"module {module.rpartition('.')[0]!r} has no attribute {name!r}")

    return find, lambda: sorted(import_module(module).__all__)
