"""What all tables on standard output have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from robustkit.base.printable import printable
from robustkit.cli.shared.answer import as_json

if TYPE_CHECKING:
    from robustkit.maths.intervals import Proportion

STATUS_COLOURS = {"pass": "green", "remark": "yellow", "fail": "bold red", "not run": "dim"}


class Safe(Console):
    """A console on which names from a stranger's file cannot paint."""

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        """Yields what is printed, all but our own colours as plain text."""
        for part in super().render(renderable, options):
            yield part if part.control else part._replace(text=printable(part.text))


def out() -> Console:
    """Returns standard output; results are printed there and nothing else; none where JSON is asked for."""
    return Safe(quiet=as_json(), highlight=False, soft_wrap=False, markup=False)


def plain_table(*columns: str, left: Sequence[str] = (), narrow: bool = False) -> Table:
    """Returns an empty table without lines, its columns right-aligned but those named in `left`.

    A narrow one has less room between its columns.
    """
    table = Table(box=None, padding=(0, 1, 0, 2) if narrow else (0, 2), header_style="dim")
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    return table


def print_titled(console: Console, title: str, table: Table) -> None:
    """Prints a title on a line of its own, because rich wraps a title to the width of its table."""
    console.print(Text(title, style="bold"))
    console.print(table)


def status(text: str) -> Text:
    """Returns the status of a check in its colour."""
    return Text(text, style=STATUS_COLOURS[text])


def percent(share: float | None) -> str:
    """Returns "65.3 %", or a dash for nothing."""
    return "-" if share is None else f"{100 * share:.1f} %"


def accuracy(value: Proportion) -> Text:
    """Returns "65.3 %  60.5-69.7" with the interval dimmed."""
    if value.value is None:
        return Text("-")
    low, high = value.wilson
    return Text.assemble(f"{100 * value.value:5.1f} %", (f"  {100 * low:.1f}-{100 * high:.1f}", "dim"))


def counts(value: Proportion) -> str:
    """Returns "34 of 60"."""
    return f"{value.k} of {value.n}"
