"""The bar charts of the report: accuracy per attack, per class and per model, with every number printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from robustkit.maths.intervals import Proportion
from robustkit.report.document.report import Audit, ClassRow
from robustkit.report.figures.svg import (
    ATTACK,
    CLEAN,
    INK,
    MUTED,
    PAPER,
    QUARTERS,
    TRACK,
    WIDTH,
    WORST_CASE,
    Anchor,
    Plot,
    Sheet,
)
from robustkit.report.text import sentences, words
from robustkit.report.text.attack_rows import shown_rows

MOST_CLASSES, WORST, BEST = 25, 12, 5


@dataclass(frozen=True)
class _Row:
    """A line of text and the bars under it; without a `name`, somebody's own words, just the note."""

    name: str | None
    note: str
    bars: tuple[tuple[Proportion, str], ...] = ()
    doubtful: bool = False


def accuracy(audit: Audit, ident: str) -> Markup:
    """Returns bars of the accuracy without attack, under each attack (in a cascade, after it) and in the worst case."""
    shown = [("no attack", audit.clean, CLEAN)]
    shown += [(row.accuracy_name, row.result.accuracy, ATTACK) for row in shown_rows(audit)]
    shown += [("worst case", audit.worst_case.accuracy, WORST_CASE)]
    doubtful = sentences.doubtful(audit) is not None
    rows = [
        _Row(name, _value(share), ((share, colour),), doubtful and colour != CLEAN) for name, share, colour in shown
    ]
    said = "; ".join(f"{name} {_value(share)}" for name, share, _ in shown)
    return _bars(ident, rows, 13, "Accuracy without and under attack", f"Bars with Wilson intervals: {said}.")


def per_class(audit: Audit, ident: str) -> Markup:
    """Returns pairs of bars, clean and under attack, per class, lowest robust accuracy first.

    Of more than 25 classes only the 12 lowest and the 5 highest are drawn.
    """
    ranked = sentences.ranked(audit)
    doubtful = sentences.doubtful(audit) is not None
    rows = [_class_row(row, row is ranked[0], doubtful) for row in ranked]
    if len(rows) > MOST_CLASSES:
        between = _Row(None, f"{len(rows) - WORST - BEST:,} classes in between are in the table")
        rows = [*rows[:WORST], between, *rows[-BEST:]]
    said = "; ".join(f"{words.shorten(row.name, 100)} {row.note}" for row in rows if row.name is not None)
    description = f"Pairs of bars, clean above robust accuracy, with Wilson intervals, worst class first: {said}."
    return _bars(ident, rows, 8, "Clean and robust accuracy per class", description)


def slices(audit: Audit, ident: str) -> Markup:
    """Returns pairs of bars, clean and under attack, for the data slices with the lowest robust accuracy."""
    ranked = sentences.ranked_slices(audit)[:MOST_CLASSES]
    doubtful = sentences.doubtful(audit) is not None
    rows = [
        _Row(f"{row.column} = {row.value}",
             f"{_drop(row.clean, row.robust)} \N{MIDDLE DOT} p {words.p_value(row.p_holm)}",
             ((row.clean, CLEAN), (row.robust, WORST_CASE)), doubtful)
        for row in ranked
    ]  # fmt: skip
    said = "; ".join(f"{words.shorten(str(row.name), 60)}: {row.note}" for row in rows[:5])
    title = "Clean and robust accuracy by data slice"
    return _bars(ident, rows, 8, title, f"Pairs of bars with Wilson intervals, lowest first: {said}.")


def comparison(audits: Sequence[Audit], ident: str) -> Markup:
    """Returns pairs of bars, clean and under attack, per model."""
    rows = []
    for audit in audits:
        clean, robust = audit.clean, audit.worst_case.accuracy
        note = _drop(clean, robust)
        bars = ((clean, CLEAN), (robust, WORST_CASE))
        rows.append(_Row(audit.subject.name, note, bars, sentences.doubtful(audit) is not None))
    said = "; ".join(
        f"{words.shorten(audit.subject.name, 60)}: {row.note}" for audit, row in zip(audits, rows, strict=True)
    )
    return _bars(ident, rows, 10, "Clean and robust accuracy by model", f"Bars with Wilson intervals: {said}.")


def _value(share: Proportion) -> str:
    return f"{words.percent(share.value)}  ({words.interval(share)})" if share.n else "no samples"


def _class_row(row: ClassRow, worst: bool, doubtful: bool) -> _Row:
    note = _drop(row.clean, row.robust)
    note = f"worst class \N{MIDDLE DOT} {note}" if worst else note
    return _Row(row.name, note, ((row.clean, CLEAN), (row.robust, WORST_CASE)), doubtful)


def _drop(clean: Proportion, robust: Proportion) -> str:
    return f"{words.percent(clean.value)} \N{RIGHTWARDS ARROW} {words.percent(robust.value)}"


def _bars(ident: str, rows: Sequence[_Row], thick: int, title: str, description: str) -> Markup:
    """Rows of horizontal bars on a common scale from 0 to 100 %, each under its own line of text."""
    text, gap = 19, 11
    heights = [text + len(row.bars) * (thick + 2) + gap for row in rows]
    sheet = Sheet(ident, WIDTH, sum(heights) + 22)
    plot = sheet.plot(1, 0, WIDTH - 2, sheet.height, y=(sheet.height, 0))
    top = 0
    for row, height in zip(rows, heights, strict=True):
        if row.name is None:
            plot.text(0.5, top + 11, row.note, anchor="middle", font_style="italic")
        else:  # about 6.4 px a letter: what the note leaves free is the name's
            room = int((WIDTH - 5.6 * len(row.note)) / 6.4) - 2
            plot.text(0, top + 8, words.shorten(row.name, room), size=12, colour=INK)
            plot.text(1, top + 8, row.note, anchor="end")
        for number, (share, colour) in enumerate(row.bars):
            doubtful = row.doubtful and colour != CLEAN
            _bar(plot, top + text + number * (thick + 2), thick, share, colour, doubtful)
        top += height
    for tick in QUARTERS:
        plot.line([(tick, top - 4), (tick, top)], width=0.8)
        anchor: Anchor = "middle" if 0 < tick < 1 else "end" if tick else "start"
        plot.text(tick, top + 10, f"{100 * tick:.0f} %", size=10, anchor=anchor)
    return sheet.svg(title, description)


def _bar(plot: Plot, top: float, thick: float, share: Proportion, colour: str, doubtful: bool) -> None:
    plot.rect((0, 1), (top, top + thick), TRACK)
    if share.value is None:
        return
    if doubtful:  # an outline: nothing solid stands behind the number
        plot.rect((0, share.value), (top + 0.5, top + thick - 0.5), PAPER, stroke=MUTED, stroke_dasharray="3 2")
    else:
        plot.rect((0, share.value), (top, top + thick), colour)
    middle, (low, high) = top + thick / 2, share.wilson
    inside = INK if colour == CLEAN or doubtful else PAPER  # what can be seen on the bar in both themes
    for end, shade in ((low, inside), (high, INK)):
        plot.line([(end, middle), (share.value, middle)], shade, 1.2)
        plot.line([(end, middle - 3.2), (end, middle + 3.2)], shade, 1.2)
