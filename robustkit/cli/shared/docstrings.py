"""Help that stands in docstrings already."""

from __future__ import annotations

import inspect
import re


def of_setting(docstring: str | None, name: str) -> str:
    """Returns what the "Attributes:" of a class say of one of them, on one line; empty where they say nothing."""
    found = re.search(rf"^ +{name}: (.*(?:\n {{8,}}.*)*)", inspect.cleandoc(docstring or ""), re.MULTILINE)
    return " ".join(found[1].split()) if found else ""
