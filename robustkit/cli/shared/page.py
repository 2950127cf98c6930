"""The page of a command that measures something else than an audit does, from the tables it prints."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robustkit.cli.shared.command_line import typed
from robustkit.cli.shared.echo import say_file

if TYPE_CHECKING:
    from rich.table import Table

    from robustkit.cli.shared.model_and_data import ModelOptions


def write_page(
    path: Path,
    kind: str,
    title: str,
    numbers: Mapping[str, str],
    tables: Mapping[str, Table] | None = None,
    notes: Sequence[str] = (),
    steps: Sequence[tuple[str, str | None]] = (),
) -> None:
    """Writes a page and says where; see `SmallPage`.

    Args:
        path: The file.
        kind: As there, and so on.
        title: See there.
        numbers: See there.
        tables: As the terminal shows them, by title.
        notes: See there.
        steps: What to do next, each with a command line or None.
    """
    from robustkit.base.write_file import write_atomically
    from robustkit.report.text.recommendations import Step
    from robustkit.report.views.small_page import Column, SmallPage, render_small_page

    page = SmallPage(
        kind=kind,
        title=title,
        command=shlex.join(["robustkit", *typed()]),
        numbers=tuple(numbers.items()),
        tables=tuple(
            (
                about,
                tuple(
                    Column(str(column.header), tuple(map(str, column.cells)), column.justify == "right")
                    for column in table.columns
                ),
            )
            for about, table in (tables or {}).items()
        ),
        notes=tuple(notes),
        steps=tuple(Step(text, command) for text, command in steps),
    )
    say_file(write_atomically(path, render_small_page(page)), "page")


def audit_command(model: ModelOptions, name: str, *more: object) -> str:
    """Returns the audit of the model called `name` on the data of a command, under the same preparation of inputs."""
    same = {
        "--data": model.data,
        "--data-root": model.data_root,
        "--image-size": model.image_size,
        "--bounds": model.bounds,
        "--mean": model.mean,
        "--std": model.std,
    }
    words = [str(word) for option, value in same.items() if value is not None for word in (option, value)]
    return shlex.join(["robustkit", "audit", name, *words, *map(str, more)])
