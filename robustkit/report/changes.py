"""The figures of a comparison: paired differences with their intervals, and two curves on one plot."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from robustkit.report import words
from robustkit.report.comparison import Change, Side
from robustkit.report.document import AccuracyCurve
from robustkit.report.svg import ATTACK, INK, MUTED, TRACK, WIDTH, WORST_CASE, Sheet, plain_style
from robustkit.stats import Proportion


@plain_style()
def differences(rows: Sequence[Change], ident: str) -> Markup:
    """Returns for every row the difference after minus before with its interval, on a scale around zero."""
    each = 46
    sheet = Sheet(ident, WIDTH, each * len(rows) + 26)
    axes = sheet.axes(1, 0, WIDTH - 2, sheet.height)
    reach = max([0.05, *(abs(end) for row in rows for end in row.paired.interval)])
    axes.set(xlim=(-reach * 1.02, reach * 1.02), ylim=(sheet.height, 0))
    axes.plot([0, 0], [20, each * len(rows) + 4], color=MUTED, linewidth=1)
    for number, row in enumerate(rows):
        top, middle = number * each, number * each + 32
        low, high = row.paired.interval
        colour = ATTACK if low <= 0 <= high else WORST_CASE
        axes.text(-reach, top + 12, sheet.name(row.name, 34), va="center", size=12, color=INK)
        axes.text(reach, top + 12, points(row.paired.difference), ha="right", va="center", size=11, color=MUTED)
        axes.plot([-reach, reach], [middle, middle], color=TRACK, linewidth=6, solid_capstyle="butt", zorder=0)
        axes.plot([low, high], [middle, middle], color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.plot([row.paired.difference or 0.0], [middle], "o", color=colour, markersize=7)
    bottom = each * len(rows) + 16
    ends: tuple[tuple[float, str, str], ...] = (
        (-reach, "left", ""),
        (0.0, "center", "no change"),
        (reach, "right", ""),
    )
    for value, side, text in ends:
        axes.text(value, bottom, text or points(value), ha=side, va="center", size=10, color=MUTED)
    said = "; ".join(
        f"{words.shorten(row.name, 60)} {points(row.paired.difference)} "
        f"({points(row.paired.interval[0])} to {points(row.paired.interval[1])})"
        for row in rows
    )
    return sheet.svg("Change of accuracy, after minus before", f"Points with 95 % intervals: {said}.")


@plain_style()
def curves(before: Side, after: Side, ident: str) -> Markup | None:
    """Returns both curves of robust accuracy against the budget, None unless both sides have one in the same norm."""
    if before.curve is None or after.curve is None or before.curve.norm != after.curve.norm:
        return None
    sheet = Sheet(ident, WIDTH, 330)
    plot = sheet.axes(42, 14, WIDTH - 58, 262)
    end = max(point.eps_value for side in (before.curve, after.curve) for point in side.points)
    plot.set(xlim=(0, end), ylim=(0, 1))
    plot.axhline(0, color=MUTED, linewidth=1, clip_on=False)
    for tick in (0, 0.25, 0.5, 0.75, 1):
        if tick:
            plot.axhline(tick, color=TRACK, linewidth=0.8, zorder=0)
        plot.text(-0.015 * end, tick, f"{100 * tick:.0f} %", ha="right", va="center", size=10, color=MUTED)
    said = []
    for name, side, colour, line in (("before", before, ATTACK, (0, (5, 3))), ("after", after, WORST_CASE, "solid")):
        assert side.curve is not None
        said.append(f"{name}: {_curve(plot, side.curve, side.clean, colour, line)}")
    shown = {point.eps_value: point.eps for side in (before.curve, after.curve) for point in side.points} | {0.0: "0"}
    last = -1.0
    for radius in sorted(shown):
        if (radius - last) / end > 0.09:
            plot.text(radius, -0.045, sheet.name(shown[radius], 10), ha="center", va="center", size=10, color=MUTED)
            last = radius
    plot.text(end / 2, -0.13, f"eps ({after.curve.norm})", ha="center", va="center", size=11, color=MUTED)
    return sheet.svg("Robust accuracy against the budget, before and after", f"{'; '.join(said)}.")


def points(difference: float | None) -> str:
    """Returns a difference of shares in points, with its sign."""
    return words.EMPTY if difference is None else words.signed(100 * difference, 1)


def _curve(plot: Axes, curve: AccuracyCurve, clean: Proportion, colour: str, line: object) -> str:
    radii = [0.0, *(point.eps_value for point in curve.points)]
    shares = [clean, *(point.accuracy for point in curve.points)]
    values = [share.value or 0.0 for share in shares]
    lows, highs = zip(*(share.wilson for share in shares), strict=True)
    plot.fill_between(radii, lows, highs, color=TRACK, linewidth=0, zorder=0)
    plot.plot(radii, values, color=colour, linewidth=2, linestyle=line, clip_on=False)
    plot.plot(radii, values, "o", color=colour, markersize=5, clip_on=False)
    path = [f"0: {words.percent(clean.value)}"]
    return ", ".join([*path, *(f"{point.eps}: {words.percent(point.accuracy.value)}" for point in curve.points)])
