"""The names of its outputs that a model brings along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def carried_names(model: Any) -> tuple[str, ...] | None:
    """Returns what the `config.id2label` of a Hugging Face model calls its outputs, in order; None without one."""
    named = getattr(getattr(model, "config", None), "id2label", None)
    if not isinstance(named, Mapping):
        return None
    by_number = {str(key): str(name) for key, name in named.items()}
    names = tuple(by_number.get(str(number), "") for number in range(len(by_number)))
    return names if names and all(names) else None
