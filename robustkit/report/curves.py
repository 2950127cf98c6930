"""The curves of the report: accuracy by budget, mistakes by share answered, and the leads that are left."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from robustkit.report import words
from robustkit.report.document import Audit
from robustkit.report.svg import ATTACK, CLEAN, GAP, INK, MUTED, TRACK, WIDTH, WORST_CASE, Sheet, plain_style
from robustkit.report.tallies import Margins, RiskCoverage

_LEFT, _SIDE = 42, WIDTH - 58
_WIDE = 12  # largest radius over the smallest: above, the axis is logarithmic
_QUARTERS = (0, 0.25, 0.5, 0.75, 1)


@plain_style()
def accuracy_curve(audit: Audit, ident: str) -> Markup | None:
    """Returns robust accuracy against the radius, from the clean accuracy at 0, with its interval as a band."""
    curve = audit.curve
    if curve is None or not curve.points:
        return None
    radii = [point.eps_value for point in curve.points]
    shares = [audit.clean, *(point.accuracy for point in curve.points)]
    values = [share.value or 0.0 for share in shares]
    logarithmic = radii[-1] > _WIDE * radii[0] > 0

    def place(radius: float) -> float:
        return math.log2(max(radius, radii[0])) if logarithmic else radius

    xs = [place(radii[0]) - 1.2 if logarithmic else 0.0, *map(place, radii)]
    sheet = Sheet(ident, WIDTH, 330)
    plot = sheet.axes(_LEFT, 22, _SIDE, 254)
    span = xs[-1] - xs[0] or 1.0
    plot.set(xlim=(xs[0], xs[0] + span), ylim=(0, 1))
    _grid(plot)
    if xs[1] <= (at := place(audit.threat.eps_value)) <= xs[-1] or (not logarithmic and at <= xs[-1]):
        plot.axvline(at, color=INK, linewidth=1, linestyle=(0, (1, 2)))
        side = "right" if at > xs[0] + 0.7 * span else "left"
        plot.text(at, 1.045, "budget of this audit", ha=side, va="center", size=10, color=MUTED)
    chance = 1 / audit.subject.num_classes
    plot.axhline(chance, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    plot.text(xs[-1], chance + 0.03, "guessing", ha="right", va="center", size=10, color=MUTED)
    lows, highs = zip(*(share.wilson for share in shares), strict=True)
    plot.fill_between(xs, lows, highs, color=ATTACK, alpha=0.25, linewidth=0)
    plot.plot(xs[1:], values[1:], color=WORST_CASE, linewidth=2, solid_joinstyle="round", clip_on=False)
    first = (0, (2, 2)) if logarithmic else "solid"  # dashed where 0 is not in its place
    plot.plot(xs[:2], values[:2], color=WORST_CASE, linewidth=2, linestyle=first, clip_on=False)
    plot.plot(xs, values, "o", color=WORST_CASE, markersize=5, clip_on=False)
    plot.plot(xs[:1], values[:1], "s", color=CLEAN, markersize=7, clip_on=False)
    last = -math.inf
    for x, text in zip(xs, ["0", *(point.eps for point in curve.points)], strict=True):
        if (x - last) / span > 0.09:
            plot.text(x, -0.045, sheet.name(text, 10), ha="center", va="center", size=10, color=MUTED)
            last = x
    scale = ", logarithmic scale" if logarithmic else ""
    plot.text(xs[0] + span / 2, -0.13, f"eps ({curve.norm}){scale}", ha="center", va="center", size=11, color=MUTED)
    said = "; ".join(f"{point.eps}: {words.percent(point.accuracy.value)}" for point in curve.points)
    return sheet.svg("Robust accuracy against the budget", f"Clean {words.percent(audit.clean.value)}; {said}.")


@plain_style()
def risk_coverage(risk: RiskCoverage, ident: str) -> Markup:
    """Returns the share of mistakes among the answers given, when the least confident are withheld."""
    sheet = Sheet(ident, WIDTH, 300)
    plot = sheet.axes(_LEFT, 14, _SIDE, 232)
    plot.set(xlim=(0, 1), ylim=(0, 1))
    _grid(plot)
    for values, colour, style, name in (
        (risk.clean, CLEAN, "solid", "clean"),
        (risk.attacked, WORST_CASE, (0, (5, 2)), "under attack"),
    ):
        plot.plot(risk.coverage, values, color=colour, linewidth=2.2, linestyle=style, clip_on=False)
        above = values[-1] + 0.06 if values[-1] < 0.9 else values[-1] - 0.07
        plot.text(1, above, name, ha="right", va="center", size=11, color=INK)
    for tick in _QUARTERS:
        plot.text(tick, -0.055, f"{100 * tick:.0f} %", ha="center", va="center", size=10, color=MUTED)
    plot.text(0.025, 0.965, "share that is wrong", va="center", size=11, color=MUTED)
    plot.text(0.5, -0.16, "share answered, most confident first", ha="center", va="center", size=11, color=MUTED)
    said = "; ".join(
        f"answering {words.percent(risk.coverage[i])}: wrong {words.percent(risk.clean[i])} clean, "
        f"{words.percent(risk.attacked[i])} under attack"
        for i in _spread(len(risk.coverage))
    )
    return sheet.svg("Mistakes by share of samples answered", f"{said}.")


@plain_style()
def leads(margins: Margins, ident: str) -> Markup:
    """Returns a histogram of the leads left at the worst points; outlined bars are broken samples."""
    sheet = Sheet(ident, WIDTH, 250)
    plot = sheet.axes(8, 26, WIDTH - 16, 170)
    edges, tallest = margins.edges, max(margins.counts)
    plot.set(xlim=(edges[0], edges[-1]), ylim=(0, tallest or 1))
    plot.axhline(0, color=MUTED, linewidth=1, clip_on=False)
    edge = 0.07 * (edges[1] - edges[0])
    for low, high, count in zip(edges, edges[1:], margins.counts, strict=False):
        fill, line = (WORST_CASE, "none") if low >= 0 else (GAP, INK)
        bar = Rectangle((low + edge, 0), high - low - 2 * edge, count, facecolor=fill, edgecolor=line, linewidth=0.8)
        plot.add_patch(bar)
        bar.set_clip_on(False)
    plot.axvline(0, color=INK, linewidth=1.2, clip_on=False)
    span = edges[-1] - edges[0]
    broken = sum(count for low, count in zip(edges, margins.counts, strict=False) if low < 0)
    standing = sum(margins.counts) - broken
    for at, note, side in ((edges[0], f"{broken:,} broken", "left"), (edges[-1], f"{standing:,} still right", "right")):
        plot.text(at, 1.08 * (tallest or 1), note, ha=side, va="center", size=11, color=INK)
    share = -edges[0] / span
    for tick in sorted({edges[0], 0.0, edges[-1]} if 0.12 < share < 0.88 else {edges[0], edges[-1]}):
        side = "left" if tick == edges[0] else "right" if tick == edges[-1] else "center"
        plot.text(
            tick,
            -0.075 * (tallest or 1),
            f"{tick:g}".replace("-", "\N{MINUS SIGN}"),
            ha=side,
            va="center",
            size=10,
            color=MUTED,
        )
    note = "lead of the right class (logits)"
    plot.text(edges[0] + span / 2, -0.2 * (tallest or 1), note, ha="center", va="center", size=11, color=MUTED)
    return sheet.svg(
        "Lead of the right class at each sample's worst point",
        f"{broken:,} samples below 0, which are broken, and {standing:,} above. Median lead "
        f"{words.decimal(margins.median)} logits; the fullest bar holds {tallest:,} samples.",
    )


def _grid(plot: Axes) -> None:
    plot.axhline(0, color=MUTED, linewidth=1, clip_on=False)
    left = plot.get_xlim()[0] - 0.015 * (plot.get_xlim()[1] - plot.get_xlim()[0])
    for tick in _QUARTERS:
        if tick:
            plot.axhline(tick, color=TRACK, linewidth=0.8, zorder=0)
        plot.text(left, tick, f"{100 * tick:.0f} %", ha="right", va="center", size=10, color=MUTED)


def _spread(n: int) -> Sequence[int]:
    """At most four places, about evenly spread and the last among them."""
    return sorted({max(round(n * part) - 1, 0) for part in (0.25, 0.5, 0.75, 1)})
