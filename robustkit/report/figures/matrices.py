"""Matrices as figures: confusion under attack, and cross-member transfer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from robustkit.report.document.ledger_summaries import Confusion
from robustkit.report.document.report import Ensemble
from robustkit.report.figures.svg import GAP, INK, PAPER, TRACK, WIDTH, WORST_CASE, Plot, Sheet
from robustkit.report.text import words

_NUMBERS = 12  # classes up to which every cell holds its number
Shade = tuple[float, str, str]  # how strong from 0 to 1, the colour, and the number in the cell


def confusion(found: Confusion, names: Sequence[str], ident: str) -> tuple[Markup, Markup] | None:
    """Returns the predictions under attack by class, and how they differ from those without attack."""
    if found.attacked is None or found.clean is None:
        return None
    attacked, clean = found.attacked, found.clean
    change = [[a - c for a, c in zip(*rows, strict=True)] for rows in zip(attacked, clean, strict=True)]
    most = max((abs(value) for row in change for value in row), default=0) or 1
    sizes = [sum(row) or 1 for row in attacked]

    def share(i: int, j: int) -> Shade:
        return attacked[i][j] / sizes[i], WORST_CASE, str(attacked[i][j] or "")

    def moved(i: int, j: int) -> Shade:
        value = change[i][j]
        text = f"{value:+d}".replace("-", "\N{MINUS SIGN}") if value else ""
        return abs(value) / most, WORST_CASE if value > 0 else GAP, text

    said = "; ".join(
        f"{words.shorten(p.label, 40)} predicted as {words.shorten(p.answer, 40)}: {p.clean} times clean, "
        f"{p.attacked} under attack"
        for p in found.pairs[:3]
    )
    said = said or "The attacks added no errors."
    return (
        _matrix(ident, names, names, share, "Predictions under attack",
                f"True classes by predictions, counts of samples. {said}."),
        _matrix(f"{ident}-change", names, names, moved, "Predictions under attack minus predictions without",
                f"True classes by predictions; correct ones are lost on the diagonal, errors added off it. {said}."),
    )  # fmt: skip


def transfer(group: Ensemble, ident: str) -> Markup:
    """Returns which share of one member's adversarial examples breaks another."""

    def share(i: int, j: int) -> Shade:
        value = group.transfer[i][j]
        return value, WORST_CASE, f"{100 * value:.0f} %"

    said = "; ".join(
        f"{words.shorten(name, 40)}: " + ", ".join(words.percent(value) for value in row)
        for name, row in zip(group.members, group.transfer, strict=True)
    )
    return _matrix(
        ident, group.members, group.members, share, "Cross-member transfer of adversarial examples",
        f"Rows: crafted on this member; columns, in the same order: share that breaks it. {said}.",
        ("breaks", "crafted on"),
    )  # fmt: skip


def _matrix(
    ident: str,
    rows: Sequence[str],
    columns: Sequence[str],
    shade: Callable[[int, int], Shade],
    title: str,
    description: str,
    sides: tuple[str, str] = ("predicted", "true class"),
) -> Markup:
    """A square of cells, rows and columns under their names, the stronger the larger the number."""
    labels, letters = (76, 10) if len(columns) > 6 else (132, 19)  # what the names on the left may take
    side = WIDTH - labels - 2
    cell = side / max(len(columns), 1)
    sheet = Sheet(ident, WIDTH, side + 46)
    plot = sheet.plot(labels, 42, side, side, x=(0, len(columns)), y=(len(rows), 0))
    size = max(min(11, 0.42 * cell + 3), 7)
    room = int(cell / (0.62 * size))
    if any(len(name) > room for name in columns):  # columns that are too narrow for names get the number of their row
        rows = [f"{i}  {name}" for i, name in enumerate(rows, 1)]
        columns = [str(j) for j in range(1, len(columns) + 1)]
    for i, name in enumerate(rows):
        text = words.shorten(name, letters)
        plot.text(0, i + 0.5, text, size=size, colour=INK, anchor="end", dx=-0.07 * labels)
    for j, name in enumerate(columns):
        plot.text(j + 0.5, 0, words.shorten(name, room + 2), size=size, colour=INK, anchor="middle", dy=-10)
    sheet.text(labels + side / 2, 9, f"{sides[0]} \N{RIGHTWARDS ARROW}", anchor="middle")
    sheet.text(0.93 * labels, 32, f"{sides[1]} \N{DOWNWARDS ARROW}", size=10, anchor="end")
    plot.rect((0, len(columns)), (0, len(rows)), TRACK)
    for i in range(len(rows)):
        for j in range(len(columns)):
            _cell(plot, i, j, shade(i, j), cell, len(columns) <= _NUMBERS)
    return sheet.svg(title, description)


def _cell(plot: Plot, i: int, j: int, shade: Shade, cell: float, numbered: bool) -> None:
    strength, colour, text = shade
    if strength > 0:
        gap = min(1.5 / cell, 0.1) / 2
        place = (j + gap, j + 1 - gap), (i + gap, i + 1 - gap)
        plot.rect(*place, colour, fill_opacity=0.12 + 0.88 * min(strength, 1))
    if numbered and text:
        light = colour == WORST_CASE and strength > 0.5
        size = max(min(12, 0.3 * cell), 7)
        plot.text(j + 0.5, i + 0.5, text, size=size, colour=PAPER if light else INK, anchor="middle")
