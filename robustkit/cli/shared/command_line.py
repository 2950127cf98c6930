"""The words of the command line as they were typed."""

from __future__ import annotations

from collections.abc import Sequence

import click


def typed() -> list[str]:
    """Returns the words after the name of the program that say what is done.

    Neither whether it had been interrupted nor how the answer is printed is among them.
    """
    words: list[str] = click.get_current_context().find_root().obj
    return [word for word in words if word not in ("--resume", "--json")]


def without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Returns the words of a command line without some options and their values, spelled in either way."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif not word.startswith(tuple(f"{option}=" for option in options)):
            kept.append(word)
    return kept
