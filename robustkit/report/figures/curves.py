"""The curves of the report: accuracy by eps, error by coverage, and the distribution of the logit margins."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from robustkit.report.document.ledger_summaries import Margins, RiskCoverage
from robustkit.report.document.report import Audit, CurvePoint
from robustkit.report.figures.svg import ATTACK, CLEAN, GAP, INK, QUARTERS, WIDTH, WORST_CASE, Anchor, Plot, Sheet
from robustkit.report.text import words

_LEFT, _SIDE = 42, WIDTH - 58
_WIDE = 12  # largest radius over the smallest: above, the axis is logarithmic


def accuracy_curve(audit: Audit, ident: str) -> Markup | None:
    """Returns robust accuracy against the radius, from the clean accuracy at 0, with its interval as a band."""
    curve = audit.curve
    if curve is None or not curve.points:
        return None
    points = _where_samples_are_left(curve.points, audit.threat.eps_value)
    radii = [point.eps_value for point in points]
    shares = [audit.clean, *(point.accuracy for point in points)]
    values = [share.value or 0.0 for share in shares]
    logarithmic = radii[-1] > _WIDE * radii[0] > 0

    def place(radius: float) -> float:
        return math.log2(max(radius, radii[0])) if logarithmic else radius

    xs = [place(radii[0]) - 1.2 if logarithmic else 0.0, *map(place, radii)]
    sheet = Sheet(ident, WIDTH, 330)
    plot = sheet.plot(_LEFT, 22, _SIDE, 254, x=(xs[0], xs[-1]))
    plot.shares()
    lows, highs = zip(*(share.wilson for share in shares), strict=True)
    plot.band(xs, lows, highs, ATTACK, 0.25)
    plot.across(0)
    if xs[1] <= (at := place(audit.threat.eps_value)) <= xs[-1] or (not logarithmic and at <= xs[-1]):
        plot.upright(at, INK, dash="1 2")
        anchor: Anchor = "end" if at > xs[0] + 0.7 * (xs[-1] - xs[0]) else "start"
        plot.text(at, 1, "eps of this audit", size=10, anchor=anchor, dy=-11)
    chance = 1 / audit.subject.num_classes
    plot.across(chance, dash="4 3")
    plot.text(xs[0], chance, "chance", size=10, dx=4, dy=-7)
    line = [*zip(xs, values, strict=True)]
    plot.line(line[1:], WORST_CASE, 2)
    plot.line(line[:2], WORST_CASE, 2, "4 4" if logarithmic else None)  # dashed where 0 is not in its place
    told = [f"eps {one.eps}: {words.percent(one.accuracy.value)} ({words.interval(one.accuracy)})" for one in points]
    plot.dots(line[1:], WORST_CASE, 7, told)
    plot.square(*line[0], CLEAN, 8)
    radii_under(plot, [*zip(xs, ["0", *(point.eps for point in points)], strict=True)])
    scale = ", logarithmic scale" if logarithmic else ""
    scale += ", no sample left beyond" if len(points) < len(curve.points) else ""
    sheet.text(_LEFT + _SIDE / 2, 309, f"eps ({curve.norm}){scale}", anchor="middle")
    said = "; ".join(f"{point.eps}: {words.percent(point.accuracy.value)}" for point in curve.points)
    return sheet.svg("Robust accuracy vs eps", f"Clean {words.percent(audit.clean.value)}; {said}.")


def _where_samples_are_left(points: Sequence[CurvePoint], eps: float) -> Sequence[CurvePoint]:
    """Returns the points up to the first one, at `eps` or beyond, at which every sample is broken."""
    for number, point in enumerate(points, 1):
        if point.eps_value >= eps and not point.accuracy.k:
            return points[:number]
    return points


def radii_under(plot: Plot, radii: Sequence[tuple[float, str]]) -> None:
    """Writes the radii (place, as typed) under a plot, but for those that have no room."""
    last, room = -math.inf, 0.09 * (plot.x[1] - plot.x[0])
    for x, eps in radii:
        if x - last > room:
            plot.text(x, 0, words.shorten(eps, 10), size=10, anchor="middle", dy=11)
            last = x


def risk_coverage(risk: RiskCoverage, ident: str) -> Markup:
    """Returns the error rate when only the most confident samples are answered."""
    sheet = Sheet(ident, WIDTH, 310)
    plot = sheet.plot(_LEFT, 24, _SIDE, 232)
    plot.shares()
    plot.across(0)
    for values, colour, dash, name in (
        (risk.clean, CLEAN, None, "clean"),
        (risk.attacked, WORST_CASE, "11 4.4", "under attack"),
    ):
        plot.line([*zip(risk.coverage, values, strict=True)], colour, 2.2, dash)
        plot.text(1, values[-1], name, colour=INK, anchor="end", dy=-14 if values[-1] < 0.9 else 16)
    for tick in QUARTERS:
        plot.text(tick, 0, f"{100 * tick:.0f} %", size=10, anchor="middle", dy=13)
    plot.text(0, 1, "error rate", dy=-13)
    plot.text(0.5, 0, "coverage, most confident samples first", anchor="middle", dy=37)
    said = "; ".join(
        f"coverage {words.percent(risk.coverage[i])}: error {words.percent(risk.clean[i])} clean, "
        f"{words.percent(risk.attacked[i])} under attack"
        for i in _spread(len(risk.coverage))
    )
    return sheet.svg("Risk-coverage curve", f"{said}.")


def margins(found: Margins, ident: str) -> Markup:
    """Returns a histogram of the logit margins at the worst points; outlined bars are broken samples."""
    sheet = Sheet(ident, WIDTH, 250)
    edges, tallest = found.edges, max(found.counts)
    plot = sheet.plot(8, 26, WIDTH - 16, 170, x=(edges[0], edges[-1]), y=(0, tallest or 1))
    for low, high, count in zip(edges, edges[1:], found.counts, strict=False):
        told = f"{count:,} samples from {words.decimal(low)} to {words.decimal(high)}"
        if low >= 0:
            plot.rect((low, high), (0, count), WORST_CASE, 1.5, told)
        else:
            plot.rect((low, high), (0, count), GAP, 1.5, told, stroke=INK, stroke_width=0.8)
    plot.across(0)
    plot.upright(0, INK, 1.2)
    broken = sum(count for low, count in zip(edges, found.counts, strict=False) if low < 0)
    kept = sum(found.counts) - broken
    plot.text(edges[0], tallest or 1, f"{broken:,} broken", colour=INK, dy=-14)
    plot.text(edges[-1], tallest or 1, f"{kept:,} not broken", colour=INK, anchor="end", dy=-14)
    share = -edges[0] / (edges[-1] - edges[0])
    for tick in sorted({edges[0], 0.0, edges[-1]} if 0.12 < share < 0.88 else {edges[0], edges[-1]}):
        anchor: Anchor = "start" if tick == edges[0] else "end" if tick == edges[-1] else "middle"
        plot.text(tick, 0, f"{tick:g}".replace("-", "\N{MINUS SIGN}"), size=10, anchor=anchor, dy=13)
    sheet.text(WIDTH / 2, 230, "logit margin of the true class", anchor="middle")
    return sheet.svg(
        "Logit margin of the true class at each sample's worst point",
        f"{broken:,} samples below 0, which are broken, and {kept:,} above. Median margin "
        f"{words.decimal(found.median)} logits; the tallest bar holds {tallest:,} samples.",
    )


def _spread(n: int) -> Sequence[int]:
    """At most four places, about evenly spread and the last among them."""
    return sorted({max(round(n * part) - 1, 0) for part in (0.25, 0.5, 0.75, 1)})
