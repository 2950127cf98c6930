"""Accuracy by eps, by class, by corruption, and by epoch of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robustkit.attacks.radius import eps_text
from robustkit.attacks.threat import parse_eps
from robustkit.base.csv_table import read_csv
from robustkit.base.errors import ConfigurationError
from robustkit.base.foreign_file import parsing
from robustkit.base.settings import instance
from robustkit.defenses.training.log import row
from robustkit.defenses.training.loop import Training
from robustkit.evaluation.curve import Curve
from robustkit.evaluation.result import Evaluation
from robustkit.maths.intervals import proportion
from robustkit.plots.canvas import (
    ATTACKED,
    CLEAN,
    DASHES,
    MARKERS,
    MUTED,
    SERIES,
    THIRD,
    WIDE,
    about,
    axes,
    class_names_of,
    head,
    heat,
    inches,
    ink,
    percent_axis,
    plain,
    reach,
    row_size,
    spread,
)
from robustkit.report.figures.bars import BEST, MOST_CLASSES, WORST
from robustkit.report.text.words import percent
from robustkit.shift.result import Shift

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def robustness_curve(curves: Curve | Evaluation | Mapping[str, Curve | Evaluation], ax: Axes | None = None) -> Axes:
    """Returns robust accuracy by eps with its interval as a band; at eps 0 it is the clean accuracy of these samples.

    The axis ends where no curve falls any further; it is logarithmic where radii differ by more than a factor of 12.

    Args:
        curves: From `robustkit.security_curve`, an evaluation with a curve of its probes, or several of them by name.
        ax: Where to draw.

    Raises:
        ConfigurationError: If there is no curve, or the norms differ.
    """
    named = curves if isinstance(curves, Mapping) else {"": curves}
    found = {str(name): _curve(given) for name, given in named.items()}
    norms = sorted({curve.norm for curve in found.values()})
    if len(norms) != 1:
        raise ConfigurationError(
            f"plots: expected curves of one norm, got {' and '.join(norms) or 'none'}; plot each norm by itself"
        )
    ax = axes(ax)
    typed, ends = {0.0: "0"}, []
    for place, (name, curve) in enumerate(found.items()):
        radii = [0.0, *map(parse_eps, curve.radii)]
        shares = [proportion(int((curve.broken_at > 0).sum()), len(curve.ids)), *curve.accuracy]
        points = [point for point in zip(radii, shares, strict=True) if np.isfinite(point[0])]
        x, values = [radius for radius, _ in points], [share.value or 0.0 for _, share in points]
        lows, highs = zip(*(share.wilson for _, share in points), strict=True)
        colour, marker = SERIES[place % len(SERIES)], MARKERS[place % len(MARKERS)]
        ax.fill_between(x, lows, highs, color=colour, alpha=0.18, linewidth=0)
        ax.plot(x, values, color=colour, marker=marker, linestyle=DASHES[place % len(DASHES)], label=name or None)
        typed |= {parse_eps(eps): eps_text(eps) for eps in curve.radii}
        ends.append(x[values.index(values[-1])] or x[-1])
    _radius_axis(ax, typed, max(ends) or 1.0)
    logarithmic = ax.get_xscale() == "symlog"
    ax.set(xlabel=f"eps ({norms[0]}{', logarithmic scale' if logarithmic else ''})", ylabel="robust accuracy")
    percent_axis(ax, "y")
    counts = sorted({len(curve.ids) for curve in found.values()})
    protocols = dict.fromkeys(curve.label for curve in found.values())
    said = f"{', '.join(protocols)} attacks, n = {' and '.join(f'{n:,}' for n in counts)}"
    head(ax, "Robustness curve", said, key="best" if any(found) else None)
    return ax


def per_class(evaluation: Evaluation, ax: Axes | None = None, *, class_names: Sequence[str] | None = None) -> Axes:
    """Returns bars of clean and robust accuracy per class with intervals, lowest robust accuracy first.

    Of more than 25 classes it is the 12 lowest and the 5 highest; classes without samples are left out.

    Args:
        evaluation: What to draw.
        ax: Where to draw.
        class_names: In the order of the class indices; by default those of the data.

    Raises:
        ConfigurationError: If there are names of another number of classes.
    """
    names = class_names_of(evaluation, class_names)
    rows = [found for found in evaluation.per_class() if found[1].n]
    rows.sort(key=lambda found: (found[2].value or 0.0, found[1].value or 0.0, found[0]))
    every = len(rows)
    rows = [*rows[:WORST], *rows[-BEST:]] if every > MOST_CLASSES else rows
    ax = axes(ax, height=1.6 + 0.34 * len(rows))
    ticks = np.arange(len(rows))
    for shift, colour, name, shares in (
        (-0.2, CLEAN, "clean", [clean for _, clean, _ in rows]),
        (0.2, ATTACKED, "robust", [robust for _, _, robust in rows]),
    ):
        ax.barh(
            ticks + shift, [share.value or 0.0 for share in shares], 0.38, xerr=reach(shares), color=colour, label=name,
            error_kw={"ecolor": ink(ax), "elinewidth": 1, "capsize": 2},
        )  # fmt: skip
    ax.set_yticks(ticks, [plain(names[k], 22) for k, _, _ in rows], size=row_size(ax, len(rows)))
    ax.invert_yaxis()
    percent_axis(ax, "x")
    shown = f", {WORST} lowest and {BEST} highest of {every:,} classes" if every > len(rows) else ""
    ax.set(xlabel="accuracy", ylabel="class")
    head(ax, "Accuracy per class", about(evaluation) + shown, key="above")
    return ax


def corruptions(shift: Shift, ax: Axes | None = None) -> Axes:
    """Returns accuracy by corruption and severity as a heat map with its numbers.

    Args:
        shift: From `robustkit.shift.evaluate_shift`.
        ax: Where to draw.

    Raises:
        ConfigurationError: If it holds no corruption.
    """
    instance("plots", "shift", shift, Shift, fix="pass what robustkit.shift.evaluate_shift returned")
    if not shift.cells:
        raise ConfigurationError("plots: expected corruptions, got none; evaluate with at least one")
    names, severities = shift.corruptions, shift.severities
    shares = np.array([[shift.by_name[name, severity].accuracy.value for severity in severities] for name in names])
    ax = axes(ax, 3.6 + 0.6 * len(severities), 1.8 + 0.3 * len(names))
    heat(ax, shares, "cividis", "accuracy", [[f"{100 * share:.0f}" for share in line] for line in shares], "auto")
    ax.set_xticks(range(len(severities)), [str(severity) for severity in severities])
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], size=row_size(ax, len(names)))
    ax.set(xlabel="severity", ylabel="corruption")
    clean, mean = percent(shift.clean.accuracy.value), percent(shift.mean_accuracy.value)
    said = f"percent; clean {clean}, mean under corruption {mean}, n = {shift.clean.accuracy.n:,}, {shift.source}"
    head(ax, "Accuracy under corruptions", said)
    return ax


def training(found: Training | str | Path, ax: Axes | None = None) -> Axes:
    """Returns clean, robust and FGSM accuracy by epoch; the loss has an axis of its own on the right.

    Args:
        found: What `robustkit.defenses.fit` returned, or the folder it wrote, or the log.csv in there.
        ax: Where to draw.

    Raises:
        ConfigurationError: If there is no such log, or no epoch in it.
    """
    instance("plots", "training", found, Training, str, Path, fix="pass what fit returned, or its folder")
    rows = [row(epoch) for epoch in found.epochs] if isinstance(found, Training) else _log(Path(found))
    if not rows:
        raise ConfigurationError("plots: expected at least one epoch, got none; train with epochs=1 or more")
    ax = axes(ax)
    lines = []
    for name, colour, marker in (("clean", CLEAN, "o"), ("robust", ATTACKED, "s"), ("fgsm", THIRD, "^")):
        points = [(one["number"], one[name]) for one in rows if one[name] is not None]
        if points:
            label = "FGSM" if name == "fgsm" else name
            lines += ax.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=4, label=label)
    right = ax.twinx()
    numbers = [one["number"] for one in rows]
    lines += right.plot(numbers, [one["loss"] for one in rows], color=MUTED, linestyle="--", label="loss")
    right.set_ylabel("training loss", color=MUTED)
    if isinstance(found, Training) and found.best is not None:
        lines.append(ax.axvline(found.best.number, color=ink(ax), linestyle=":", linewidth=1, label="best epoch"))
    ax.locator_params(axis="x", integer=True)
    percent_axis(ax, "y")
    ax.set(xlabel="epoch", ylabel="accuracy")
    sizes = sorted({int(one["n"]) for one in rows if one["n"] is not None})
    said = f"accuracy on n = {sizes[-1]:,} samples" if sizes else "accuracy was not measured"
    head(ax, "Training", said, key="above", marks=lines)
    return ax


def _curve(given: Curve | Evaluation) -> Curve:
    """Returns the curve of what was given; that of an evaluation knows the nearer points it found, as in its report."""
    instance("plots", "curve", given, Curve, Evaluation, fix="pass what robustkit.security_curve returned")
    if isinstance(given, Curve):
        return given
    if given.curve is None:
        raise ConfigurationError(
            "plots: expected a curve, got none with the evaluation; run robustkit.security_curve(model, data, attacks, "
            "radii) and pass that"
        )
    comparable = given.threat.target is None and given.curve.norm == given.threat.norm
    return given.curve.informed(given.ledger) if comparable else given.curve


def _radius_axis(ax: Axes, typed: dict[float, str], end: float) -> None:
    """Makes x an axis from 0 to `end` that names the radii as they were typed, as far as there is room."""
    radii = [radius for radius in sorted(typed) if radius <= end]
    least = min((radius for radius in radii if radius > 0), default=end)
    if end > WIDE * least:
        ax.set_xscale("symlog", linthresh=least, linscale=0.5)
    ax.set_xlim(0, end * (1.1 if end > WIDE * least else 1.03))
    width = inches(ax)[0]
    places = [width * ax.transAxes.inverted().transform(ax.transData.transform((radius, 0)))[0] for radius in radii]
    kept = [radii[index] for index in spread(places, 0.1 + 0.08 * max(len(typed[radius]) for radius in radii))]
    ax.set_xticks(kept, [typed[radius] for radius in kept])
    ax.set_xticks([], minor=True)


def _log(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of log.csv, or of the one in a folder, as `robustkit.defenses.fit` writes it."""
    path = path / "log.csv" if path.is_dir() else path
    with parsing(f"plots: training log '{path}'", "the log.csv of a run", "pass the folder that fit wrote"):
        header, *lines = read_csv(path.read_text("utf-8"))
        rows = [dict(zip(header, (float(cell) if cell else None for cell in line), strict=True)) for line in lines]
        return [{name: one[name] for name in ("number", "loss", "clean", "robust", "fgsm", "n")} for one in rows]
