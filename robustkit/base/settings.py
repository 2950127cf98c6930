"""Settings of named things, as texts, types and ranges."""

from __future__ import annotations

Scalar = str | int | float | bool | None
