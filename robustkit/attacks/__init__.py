"""Attacks, their contract, the threat they stay in, and protocols; torch is loaded with the first of them."""

from __future__ import annotations

if __name__ != "robustkit.attacks":
    raise ImportError("import robustkit.attacks; attacks/ is a link for people")

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustkit.attacks.catalogue import *  # noqa: F403


def __getattr__(name: str) -> Any:
    catalogue = import_module("robustkit.attacks.catalogue")
    if name in ("__all__", *catalogue.__all__):
        return getattr(catalogue, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
