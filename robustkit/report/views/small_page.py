"""A page about one result that is no audit: what was asked, the number, what it rests on, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from robustkit.report.text.recommendations import Step
from robustkit.report.views.html import render_page


@dataclass(frozen=True)
class Column:
    """A column of a table: its head, its cells from top to bottom, and whether they are numbers."""

    head: str
    cells: tuple[str, ...]
    numbers: bool


@dataclass(frozen=True)
class SmallPage:
    """What the page says.

    Attributes:
        kind: What kind of result it is.
        title: Of the page.
        command: The command line that made it.
        numbers: The numbers that were asked for, each with its name.
        tables: What they rest on, by title.
        notes: What a reader must know about them.
        steps: What to do next.
    """

    kind: str
    title: str
    command: str
    numbers: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, tuple[Column, ...]], ...]
    notes: tuple[str, ...]
    steps: tuple[Step, ...]


def render_small_page(page: SmallPage) -> str:
    """Returns the page as HTML, in the style of the report."""
    return render_page("small_page.html.j2", it=page)
