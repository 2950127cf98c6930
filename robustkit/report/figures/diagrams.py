"""The diagrams of the report: reliability, and the convergence of attacks."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from robustkit.attacks.names import attack_name
from robustkit.checks.convergence import last_tenth
from robustkit.maths.calibration import Bin, Calibration
from robustkit.report.document.report import AttackResult, CalibrationPair
from robustkit.report.figures.svg import ATTACK, CLEAN, GAP, INK, QUARTERS, TRACK, WIDTH, WORST_CASE, Plot, Sheet
from robustkit.report.text import words


def reliability(pair: CalibrationPair, ident: str) -> tuple[Markup, Markup]:
    """Returns two reliability diagrams on the same axes, clean and attacked, each with the report's ECE."""
    tallest = max([one.n for side in (pair.clean, pair.attacked) for one in side.reliability], default=0)
    return (
        _reliability(pair.clean, tallest, f"{ident}-clean", "Clean"),
        _reliability(pair.attacked, tallest, f"{ident}-attacked", "Under attack"),
    )


def convergence(attacks: Sequence[AttackResult], ident: str) -> Markup | None:
    """Returns the best loss so far by step, one panel per attack that records it; None where none does."""
    shown = [attack for attack in attacks if len(attack.loss_path) > 1]
    if not shown:
        return None
    each = 74
    sheet = Sheet(ident, WIDTH, each * len(shown))
    for number, attack in enumerate(shown):
        path, top = attack.loss_path, number * each
        sheet.text(0, top + 11, words.shorten(attack_name(attack.name), 32), size=12, colour=INK)
        moved = last_tenth(path)
        told = "nothing moved" if moved is None else f"{words.percent(moved)} in the last tenth"
        sheet.text(WIDTH, top + 11, f"{len(path):,} steps, {told}", anchor="end")
        low, high, last = min(path), max(path), len(path) - 1
        air = 0.08 * (high - low or 1)
        panel = sheet.plot(3, top + 20, WIDTH - 10, 38, x=(0, last), y=(low - air, high + air))
        panel.across(path[-1], TRACK)
        panel.upright(0.9 * last, TRACK)
        every = 1 + last // WIDTH  # no more points than pixels
        panel.line([(step, path[step]) for step in (*range(0, last, every), last)], WORST_CASE, 1.8)
        panel.dots([(last, path[-1])], WORST_CASE)
    said = "; ".join(
        f"{words.shorten(attack_name(attack.name), 60)}: {words.percent(last_tenth(attack.loss_path))} of the change "
        "in the last tenth of the steps"
        for attack in shown
    )
    return sheet.svg("Best loss so far per step of each attack", f"{said}.")


def _reliability(measured: Calibration, tallest: int, ident: str, title: str) -> Markup:
    sheet = Sheet(ident, WIDTH, 466)
    left, side = 42, WIDTH - 58
    ece = words.decimal(measured.ece.value)
    sheet.text(left, 11, title, size=13, colour=INK, font_weight="bold")
    sheet.text(left + side, 11, f"ECE {ece}", size=13, colour=INK, anchor="end")
    plot = sheet.plot(left, 44, side, 300)
    counts = sheet.plot(left, 350, side, 62, y=(0, max(tallest, 1) / 0.72))
    plot.shares()
    for one in measured.reliability:
        _bin(plot, counts, one)
    plot.across(0)
    counts.across(0)
    plot.line([(0, 0), (1, 1)], INK, dash="4 3")
    plot.text(0, 1, "accuracy", dy=-12)
    for tick in QUARTERS:
        counts.text(tick, 0, f"{100 * tick:.0f} %", size=10, anchor="middle", dy=12)
    sheet.text(left, 362, f"samples per bin, highest {tallest:,}", size=10)
    sheet.text(left + side / 2, 450, "confidence", anchor="middle")
    calibrated = words.decimal(measured.ece_if_calibrated.mean)
    return sheet.svg(
        f"Reliability diagram: {title.lower()}",
        f"Accuracy by confidence, {measured.bins} bins, {measured.n:,} samples. Expected "
        f"calibration error {ece}; a perfectly calibrated model would show about {calibrated}. "
        f"Mean confidence {words.percent(measured.mean_confidence)}, "
        f"accuracy {words.percent(measured.accuracy.value)}.",
    )


def _bin(plot: Plot, counts: Plot, one: Bin) -> None:
    """Draws a bin: accuracy with its interval, the gap up or down to the confidence, and the count below."""
    if one.accuracy is None or one.accuracy.value is None or one.confidence is None:
        return
    value, (low, high) = one.accuracy.value, one.accuracy.wilson
    edge, middle = 0.06 * (one.high - one.low), (one.low + one.high) / 2
    inner = (one.low + edge, one.high - edge)
    plot.rect(inner, (0, value), CLEAN)
    plot.rect(inner, (value, one.confidence), GAP)
    plot.line([(middle, low), (middle, high)], INK, 1.2)
    plot.line([(inner[0], value), (inner[1], value)], INK, 1.6)
    counts.rect(inner, (0, one.n), ATTACK)
