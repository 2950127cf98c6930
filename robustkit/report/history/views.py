"""A history as one static page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from robustkit.report.document.manifest import PAGES
from robustkit.report.figures.svg import GAP, INK, WIDTH, WORST_CASE, Anchor, Sheet
from robustkit.report.history.history import Entry, History
from robustkit.report.text import words
from robustkit.report.views.html import render_page

_DASHES = (None, "10 5", "3 3", "12 4 3 4")
_DAY = 86_400.0


def render_history(history: History, folder: Path) -> str:
    """Returns the page, the same bytes every time.

    Args:
        history: The audits.
        folder: Where the page will lie, from where it links to the reports.
    """
    figures = [timeline(group.entries, f"group-{number}-figure") for number, group in enumerate(history.groups, 1)]
    return render_page(
        "history.html.j2",
        it=history,
        figures=figures,
        link=lambda entry: quote(Path(os.path.relpath(Path(entry.folder) / PAGES[1], folder)).as_posix()),
    )


def timeline(entries: Sequence[Entry], ident: str) -> Markup:
    """Returns robust accuracy against date with its interval, a line for each model.

    Args:
        entries: Audits of the same samples under one threat model, the earliest first.
        ident: What its ids begin with.
    """
    models = list(dict.fromkeys(entry.model for entry in entries))
    times = [entry.time.timestamp() for entry in entries]
    sheet = Sheet(ident, WIDTH, 250 + 18 * len(models))
    lone = _DAY if times[0] == times[-1] else 0.0
    plot = sheet.plot(42, 14, WIDTH - 60, 200, x=(times[0] - lone, times[-1] + lone))
    plot.shares()
    plot.across(0)
    for number, (model, dash) in enumerate(zip(models, cycle(_DASHES), strict=False)):
        own = [(time, entry) for time, entry in zip(times, entries, strict=True) if entry.model == model]
        line = [(time, entry.robust.value or 0.0) for time, entry in own]
        plot.line(line, WORST_CASE, 1.6, dash)
        for (time, value), (_, entry) in zip(line, own, strict=True):
            low, high = entry.robust.wilson
            plot.line([(time, low), (time, high)], INK, 1.2)
            plot.dots([(time, value)], GAP if entry.doubt else WORST_CASE, 9, [_said(entry)])
        top = 250 + 18 * number
        sheet.line([(42, top), (72, top)], WORST_CASE, 1.6, dash)
        sheet.text(80, top, words.shorten(model, 50), colour=INK)
    ends: tuple[tuple[float, Anchor, Entry], ...] = ((times[0], "start", entries[0]), (times[-1], "end", entries[-1]))
    for time, anchor, entry in ends[: 1 if lone else 2]:
        plot.text(time, 0, entry.created[:10], size=10, anchor=anchor, dy=14)
    return sheet.svg("Robust accuracy over time", f"{'; '.join(map(_said, entries))}.")


def _said(entry: Entry) -> str:
    doubt = f", {entry.doubt}" if entry.doubt else ""
    return (
        f"{entry.created[:10]} {words.shorten(entry.model, 60)}: {words.percent(entry.robust.value)} "
        f"({words.interval(entry.robust)}){doubt}"
    )
