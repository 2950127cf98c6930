"""The figures of a comparison: paired differences with their intervals, and two curves on one plot."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from robustkit.maths.intervals import Proportion
from robustkit.report.compare.comparison import Change, Side
from robustkit.report.document.report import AccuracyCurve
from robustkit.report.figures.curves import radii_under
from robustkit.report.figures.svg import ATTACK, INK, TRACK, WIDTH, WORST_CASE, Anchor, Plot, Sheet
from robustkit.report.text import words


def differences(rows: Sequence[Change], ident: str) -> Markup:
    """Returns for every row the difference after minus before with its interval, on a scale around zero."""
    each = 46
    sheet = Sheet(ident, WIDTH, each * len(rows) + 26)
    reach = max([0.05, *(abs(end) for row in rows for end in row.paired.interval)])
    plot = sheet.plot(5, 0, WIDTH - 10, sheet.height, x=(-reach, reach), y=(sheet.height, 0))
    for number in range(len(rows)):
        plot.line([(-reach, number * each + 32), (reach, number * each + 32)], TRACK, 6)
    plot.line([(0, 20), (0, each * len(rows) + 4)])
    for number, row in enumerate(rows):
        top, middle = number * each, number * each + 32
        low, high = row.paired.interval
        colour = ATTACK if low <= 0 <= high else WORST_CASE
        plot.text(-reach, top + 11, words.shorten(row.title, 48), size=12, colour=INK)
        plot.text(reach, top + 11, points(row.paired.difference), anchor="end")
        plot.line([(low, middle), (high, middle)], colour, 2.4)
        plot.dots([(row.paired.difference or 0.0, middle)], colour, 8)
    ends: tuple[tuple[float, Anchor, str], ...] = (
        (-reach, "start", points(-reach)),
        (0, "middle", "no change"),
        (reach, "end", points(reach)),
    )
    for value, anchor, text in ends:
        plot.text(value, each * len(rows) + 16, text, size=10, anchor=anchor)
    said = "; ".join(
        f"{words.shorten(row.title, 60)} {points(row.paired.difference)} "
        f"({points(row.paired.interval[0])} to {points(row.paired.interval[1])})"
        for row in rows
    )
    return sheet.svg("Change of accuracy, after minus before", f"Points with 95 % intervals: {said}.")


def curves(before: Side, after: Side, ident: str) -> Markup | None:
    """Returns both curves of robust accuracy vs eps, None unless both sides have one in the same norm."""
    if before.curve is None or after.curve is None or before.curve.norm != after.curve.norm:
        return None
    sheet = Sheet(ident, WIDTH, 330)
    end = max(point.eps_value for side in (before.curve, after.curve) for point in side.points)
    plot = sheet.plot(42, 14, WIDTH - 58, 262, x=(0, end))
    plot.shares()
    plot.across(0)
    said = []
    for name, side, colour, dash in (("before", before, ATTACK, "10 6"), ("after", after, WORST_CASE, None)):
        assert side.curve is not None
        said.append(f"{name}: {_curve(plot, side.curve, side.clean, colour, dash)}")
    shown = {point.eps_value: point.eps for side in (before.curve, after.curve) for point in side.points} | {0.0: "0"}
    radii_under(plot, sorted(shown.items()))
    plot.text(end / 2, 0, f"eps ({after.curve.norm})", anchor="middle", dy=33)
    return sheet.svg("Robust accuracy vs eps, before and after", f"{'; '.join(said)}.")


def points(difference: float | None) -> str:
    """Returns a difference of shares in percentage points, with its sign."""
    return words.EMPTY if difference is None else words.signed(100 * difference, 1)


def _curve(plot: Plot, curve: AccuracyCurve, clean: Proportion, colour: str, dash: str | None) -> str:
    radii = [0.0, *(point.eps_value for point in curve.points)]
    shares = [clean, *(point.accuracy for point in curve.points)]
    line = [(radius, share.value or 0.0) for radius, share in zip(radii, shares, strict=True)]
    lows, highs = zip(*(share.wilson for share in shares), strict=True)
    plot.band(radii, lows, highs, colour, 0.2)
    plot.line(line, colour, 2, dash)
    plot.dots(line, colour)
    path = [f"0: {words.percent(clean.value)}"]
    return ", ".join([*path, *(f"{point.eps}: {words.percent(point.accuracy.value)}" for point in curve.points)])
