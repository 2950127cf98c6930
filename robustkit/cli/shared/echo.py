"""Lines on the terminal, whatever names of strangers are in them."""

from __future__ import annotations

from pathlib import Path

import click

from robustkit.base.printable import printable
from robustkit.cli.shared.answer import answer_file, as_json


def say(text: str | Path, *, err: bool = False, nl: bool = True) -> None:
    """Prints a line on standard output, unless JSON is asked for, or with `err` on standard error.

    Nothing in it steers the terminal.
    """
    if err or not as_json():
        click.echo(printable(str(text)), err=err, nl=nl)


def say_file(path: str | Path, what: str = "", *, err: bool = False) -> None:
    """Prints, or answers, where a file was written."""
    answer_file(path)
    say(f"  {what} {path}" if what else path, err=err)
