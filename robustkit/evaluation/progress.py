"""What a running evaluation tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far an evaluation is: `done` of `total` visits (or None), `robust` of `seen` samples not broken."""

    stage: str
    done: int
    total: int | None
    robust: int
    seen: int
