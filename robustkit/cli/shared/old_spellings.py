"""Options with a new name: what was typed or recorded under the old one goes on working."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

RENAMED = {"--budget": "--time-limit", "--draws": "--eot-samples", "--nearest": "--minimal"}


class Renamed(click.Option):
    """An option that also answers to its old name, which no help shows."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Tells the parser the old name, too."""
        shown = self.opts
        self.opts = [*shown, *(old for old, new in RENAMED.items() if new in shown)]
        super().add_to_parser(parser, ctx)
        self.opts = shown


def current(words: Sequence[str]) -> list[str]:
    """Returns the words of a command line with every option under its name of today."""
    spelled = []
    for word in words:
        option, equals, value = word.partition("=")
        spelled.append(RENAMED.get(option, option) + equals + value)
    return spelled
