"""Text of others on a terminal: what would steer it is shown instead."""

from __future__ import annotations

import re

# C0 but tab and line feed, C1, marks that turn the direction of writing, line separators, and halves of pairs.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Returns `text` with every character that moves a cursor, sets a colour or turns the writing as `\x1b`."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)
