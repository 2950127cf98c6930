"""Hooks of the site: the file name behind the language of a code block becomes its title."""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Returns the page with ```python mine.py as ```python title="mine.py"; other marks of the tests are left out."""
    titled = re.sub(r"^```(\w+) (\S+\.\S+)$", r'```\1 title="\2"', markdown, flags=re.MULTILINE)
    return re.sub(r"^```(\w+) \w+$", r"```\1", titled, flags=re.MULTILINE)
