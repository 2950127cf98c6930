"""Lines on the terminal, whatever names of strangers are in them."""

from __future__ import annotations

from pathlib import Path

import click

from robustkit.base.printable import printable


def say(text: str | Path, *, err: bool = False, nl: bool = True) -> None:
    """Prints a line on standard output, or with `err` on standard error; nothing in it steers the terminal."""
    click.echo(printable(str(text)), err=err, nl=nl)
