"""The diagrams of the report: confidence against accuracy, and the path of an attack."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from robustkit.calibration import Bin, Calibration
from robustkit.hindsight import last_tenth
from robustkit.report import words
from robustkit.report.document import AttackResult, CalibrationPair
from robustkit.report.svg import ATTACK, CLEAN, GAP, INK, MUTED, TRACK, WIDTH, WORST_CASE, Sheet, plain_style


@plain_style()
def reliability(pair: CalibrationPair, ident: str) -> tuple[Markup, Markup]:
    """Returns two reliability diagrams on the same axes, clean and attacked, each with the report's ECE."""
    tallest = max([one.n for side in (pair.clean, pair.attacked) for one in side.reliability], default=0)
    return (
        _reliability(pair.clean, tallest, f"{ident}-clean", "Clean"),
        _reliability(pair.attacked, tallest, f"{ident}-attacked", "Under attack"),
    )


@plain_style()
def convergence(attacks: Sequence[AttackResult], ident: str) -> Markup | None:
    """Returns the path of the best loss, one panel per attack that has one; None where none has."""
    shown = [attack for attack in attacks if len(attack.loss_path) > 1]
    if not shown:
        return None
    each = 74
    sheet = Sheet(ident, WIDTH, each * len(shown))
    for number, attack in enumerate(shown):
        path = attack.loss_path
        label = sheet.axes(0, number * each, WIDTH, 20)
        label.text(0, 0.4, sheet.name(attack.name, 34), va="center", size=12, color=INK)
        label.text(1, 0.4, f"{len(path):,} steps", ha="right", va="center", size=11, color=MUTED)
        panel = sheet.axes(3, number * each + 20, WIDTH - 10, 38)
        low, high = min(path), max(path)
        panel.set(xlim=(0, len(path) - 1), ylim=(low - 0.08 * (high - low or 1), high + 0.08 * (high - low or 1)))
        panel.axhline(path[-1], color=TRACK, linewidth=1)
        panel.axvline(0.9 * (len(path) - 1), color=TRACK, linewidth=1)
        panel.plot(range(len(path)), path, color=WORST_CASE, linewidth=1.8, solid_joinstyle="round")
        panel.plot([len(path) - 1], [path[-1]], "o", color=WORST_CASE, markersize=5, clip_on=False)
    said = "; ".join(
        f"{words.shorten(attack.name, 60)}: {words.percent(last_tenth(attack.loss_path))} of the movement "
        "in the last tenth of the steps"
        for attack in shown
    )
    return sheet.svg("Best loss so far over the steps of each attack", f"{said}.")


def _reliability(measured: Calibration, tallest: int, ident: str, title: str) -> Markup:
    sheet = Sheet(ident, WIDTH, 452)
    left, side = 42, WIDTH - 58
    label = sheet.axes(0, 0, WIDTH, 24)
    ece = words.decimal(measured.ece.value)
    label.text(left / WIDTH, 0.5, title, va="center", size=13, weight="bold", color=INK)
    label.text(1 - 16 / WIDTH, 0.5, f"ECE {ece}", ha="right", va="center", size=13, color=INK)
    plot = sheet.axes(left, 30, side, 300)
    bars = sheet.axes(left, 336, side, 62)
    for axes in (plot, bars):
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.axhline(0, color=MUTED, linewidth=1, clip_on=False)
    for tick in (0, 0.25, 0.5, 0.75, 1):
        if tick:
            plot.axhline(tick, color=TRACK, linewidth=0.8, zorder=0)
        plot.text(-0.015, tick, f"{100 * tick:.0f} %", ha="right", va="center", size=10, color=MUTED)
        bars.text(tick, -0.2, f"{100 * tick:.0f} %", ha="center", va="center", size=10, color=MUTED)
    for one in measured.reliability:
        _bin(plot, bars, one, tallest)
    plot.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
    plot.text(0.025, 0.965, "share that is right", va="center", size=11, color=MUTED)
    bars.text(0.025, 0.8, f"samples per bin, highest {tallest:,}", va="center", size=10, color=MUTED)
    bars.text(0.5, -0.62, "confidence", ha="center", va="center", size=11, color=MUTED)
    calibrated = words.decimal(measured.ece_if_calibrated.mean)
    return sheet.svg(
        f"Reliability diagram: {title.lower()}",
        f"Share of right answers by confidence, {measured.bins} bins, {measured.n:,} samples. Expected "
        f"calibration error {ece}; a perfectly calibrated model would show about {calibrated}. "
        f"Mean confidence {words.percent(measured.mean_confidence)}, "
        f"accuracy {words.percent(measured.accuracy.value)}.",
    )


def _bin(plot: Axes, bars: Axes, one: Bin, tallest: int) -> None:
    """Draws a bin: accuracy with its interval, the gap up or down to the confidence, and the count below."""
    if one.accuracy is None or one.accuracy.value is None or one.confidence is None:
        return
    width, middle, value = one.high - one.low, (one.low + one.high) / 2, one.accuracy.value
    edge = 0.06 * width
    low, high = sorted((value, one.confidence))
    plot.add_patch(Rectangle((one.low + edge, 0), width - 2 * edge, value, facecolor=CLEAN, edgecolor="none"))
    plot.add_patch(Rectangle((one.low + edge, low), width - 2 * edge, high - low, facecolor=GAP, edgecolor="none"))
    plot.plot([middle] * 2, one.accuracy.wilson, color=INK, linewidth=1.2, solid_capstyle="butt")
    plot.plot([one.low + edge, one.high - edge], [value, value], color=INK, linewidth=1.6, solid_capstyle="butt")
    bars.add_patch(
        Rectangle(
            (one.low + edge, 0), width - 2 * edge, 0.72 * one.n / max(tallest, 1), facecolor=ATTACK, edgecolor="none"
        )
    )
