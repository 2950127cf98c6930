"""A comparison as a page and as Markdown, drawn from the comparison alone."""

from __future__ import annotations

from robustkit.report.compare.comparison import Change, Comparison, FigureChange
from robustkit.report.compare.figures import curves, differences, points
from robustkit.report.text import words
from robustkit.report.views.html import render_page

CLASSES, IDS = 12, 40  # shown; the JSON holds all
FIGURES = {
    "ece": "Expected calibration error",
    "signed_gap": "Confidence minus accuracy",
    "brier": "Brier score",
    "nll": "Negative log-likelihood",
}
_text = words.markdown


def render_comparison_html(comparison: Comparison) -> str:
    """Returns one HTML page, the same bytes every time."""
    return render_page(
        "compare.html.j2",
        it=comparison,
        headline=headline(comparison),
        differences=differences(comparison.rows, "differences-figure"),
        curves=curves(comparison.before, comparison.after, "curves-figure"),
        interval=interval,
        points=points,
        change=_change,
        titles=FIGURES,
        classes=comparison.classes[:CLASSES],
        ids=_ids,
    )


def render_comparison_markdown(comparison: Comparison) -> str:
    """Returns at most 60 lines for a pull request."""
    before, after = comparison.before, comparison.after
    lines = [
        f"# {_text(before.name, 60)} and {_text(after.name, 60)} on the same {comparison.n:,} samples",
        "",
        _text(headline(comparison), 10_000),
        "",
        *(f"- {_text(caveat, 400)}" for caveat in comparison.caveats[:8]),
        *([""] if comparison.caveats else []),
        "| | Before | After | Change in points | Lost | Gained | p (McNemar) |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *(_row(row) for row in _most(comparison.rows)),
        "",
        "| Calibration | Before | After | Change |",
        "|---|--:|--:|--:|",
    ]
    for row in comparison.figures:
        name = f"{FIGURES[row.name]}, {'under attack' if row.attacked else 'clean'}"
        lines.append(f"| {name} | {words.decimal(row.before)} | {words.decimal(row.after)} | {_change(row)} |")
    worse = [row for row in comparison.classes if (row.robust.difference or 0) < 0][:3]
    if worse:
        named = ", ".join(f"{_text(row.name, 40)} {points(row.robust.difference)}" for row in worse)
        lines += ["", f"Classes that lost most robust accuracy, in points: {named}."]
    if comparison.lost:
        shown = _text(_ids(comparison.lost), 1000)
        lines += ["", f"{len(comparison.lost):,} samples no longer withstand every attack: {shown}."]
    note = "Change: after minus before, with its 95 % interval; lost and gained count samples correct on one side only."
    lines += ["", note + f" Data SHA-256 `{comparison.data_sha256[:16]}`."]
    return "\n".join(lines) + "\n"


def headline(comparison: Comparison) -> str:
    """Returns how the robust accuracy changed, in one sentence that claims no more than the samples show."""
    row = comparison.rows[-1]
    pair, doubt = row.paired, comparison.before.doubt or comparison.after.doubt
    low, high = pair.interval
    moved = "did not change measurably" if low <= 0 <= high else "rose" if low > 0 else "fell"
    said = (
        f"Robust accuracy {moved}: {words.percent(row.before.value)} before, {words.percent(row.after.value)} after, "
        f"{points(pair.difference)} points ({interval(pair.interval)}); "
        f"{pair.b:,} sample{'' if pair.b == 1 else 's'} lost and {pair.c:,} gained."
    )
    return f"{said} Do not rely on it: an evaluation is {doubt}." if doubt else said


def interval(ends: tuple[float, float]) -> str:
    """Returns the ends of an interval of a difference, in points."""
    return f"{points(ends[0])} to {points(ends[1])}"


def _most(rows: tuple[Change, ...]) -> tuple[Change, ...]:
    return rows if len(rows) <= 14 else (*rows[:13], rows[-1])


def _row(row: Change) -> str:
    pair = row.paired
    change = f"{points(pair.difference)} ({interval(pair.interval)})"
    cells = [_text(row.title, 60), words.percent(row.before.value), words.percent(row.after.value), change]
    return f"| {' | '.join([*cells, f'{pair.b:,}', f'{pair.c:,}', _text(words.p_value(pair.p_value))])} |"


def _change(row: FigureChange) -> str:
    signed = [words.signed(value, 3) for value in (row.difference, row.low, row.high)]
    return f"{signed[0]} ({signed[1]} to {signed[2]})"


def _ids(ids: tuple[str, ...]) -> str:
    more = f" and {len(ids) - IDS:,} more in the JSON" if len(ids) > IDS else ""
    return ", ".join(words.shorten(id, 40) for id in ids[:IDS]) + more
