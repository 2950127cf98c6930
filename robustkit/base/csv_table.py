"""Tables as CSV: the same bytes on every version of Python, and no text that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

Cell = str | int | float | None
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def write_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Returns a table as CSV, one line per row; None is an empty cell.

    Text that begins with = + - @ tab or CR, which a spreadsheet takes for a formula, gets an apostrophe in front, and
    so does text that begins with apostrophes and then one of these, so that `read_csv` can take it away again (OWASP,
    "CSV Injection"). Numbers stay as they are.
    """
    return "".join(csv_line(row) for row in (header, *rows))


def csv_line(cells: Sequence[Cell]) -> str:
    """Returns one line of the table that `write_csv` writes."""
    line = ",".join(map(_written, cells))
    return (line or '""' * len(cells)) + "\n"  # one empty cell, which would look like no cell at all


def read_csv(text: str, delimiter: str = ",", spaces: bool = True) -> list[list[str]]:
    """Returns header and rows as `write_csv` was given them, numbers as text.

    A formula that was never escaped is read as it stands.

    Args:
        text: The table.
        delimiter: What parts the cells.
        spaces: Whether spaces after it belong to the cell.

    Raises:
        ValueError: If a quote is not closed, or a cell goes on after its end.
    """
    # Python 3.10 reads no NUL: a character that is not in the text takes its place on the way.
    nul = next(c for c in map(chr, range(0xE000, 0xF900)) if c not in text) if "\0" in text else ""
    try:
        lines = list(
            csv.reader(
                io.StringIO(text.replace("\0", nul), newline=""),
                delimiter=delimiter,
                skipinitialspace=not spaces,
                strict=True,
            )
        )
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if nul:
        lines = [[cell.replace(nul, "\0") for cell in line] for line in lines]
    return [[_read(cell) for cell in line] for line in lines] if "'" in text else lines


def _written(cell: Cell) -> str:
    if not isinstance(cell, str):
        return "" if cell is None else str(cell)
    text = f"'{cell}" if _FORMULA.match(cell) else cell
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if set(text) & set(',"\r\n') else text


def _read(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell
