"""How far the attacks came: margins, distances, and the path of their losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from robustkit.attacks.names import attack_name
from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import instance
from robustkit.evaluation.curve import Distances
from robustkit.evaluation.result import Evaluation
from robustkit.plots.canvas import (
    ATTACKED,
    CLEAN,
    DASHES,
    SERIES,
    WIDE,
    about,
    axes,
    evaluated,
    head,
    ink,
    percent_axis,
    plain,
)
from robustkit.report.document import ledger_summaries as tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def margins(evaluation: Evaluation, ax: Axes | None = None) -> Axes:
    """Returns a histogram of the logit margins of the true class at the worst points; below 0 a sample is broken.

    Samples that are wrong from the start have none; the outermost bars hold everything beyond.

    Args:
        evaluation: What to draw.
        ax: Where to draw.

    Raises:
        ConfigurationError: If no sample was attacked.
    """
    evaluated(evaluation)
    found = tables.margins(evaluation.ledger)
    if found is None:
        raise ConfigurationError(
            "plots: expected margins, got none since no sample was attacked; evaluate with samples the model gets right"
        )
    edges, counts = np.array(found.edges), np.array(found.counts)
    broken = edges[:-1] < 0
    ax = axes(ax)
    for those, colour, name in ((broken, ATTACKED, "broken"), (~broken, CLEAN, "robust")):
        ax.bar(
            edges[:-1][those], counts[those], np.diff(edges)[those], align="edge", color=colour, edgecolor="white",
            linewidth=0.5, label=f"{name}: {int(counts[those].sum()):,}",
        )  # fmt: skip
    ax.axvline(0, color=ink(ax), linewidth=1)
    ax.locator_params(axis="y", integer=True)
    ax.set(xlabel="margin of the true class (logits)", ylabel="samples")
    head(ax, "Margins", f"{about(evaluation, int(counts.sum()))} attacked", key="above")
    return ax


def distances(found: Evaluation | Distances, ax: Axes | None = None) -> Axes:
    """Returns the share of samples that are broken within each distance: 0 counts those wrong from the start.

    Args:
        found: An evaluation, or what `robustkit.minimal_distances` found.
        ax: Where to draw.

    Raises:
        ConfigurationError: If no sample was broken.
    """
    instance("plots", "found", found, Evaluation, Distances, fix="pass what evaluate or minimal_distances returned")
    if isinstance(found, Evaluation):
        values, norm, said = found.ledger.closest, found.threat.norm, about(found)
        end = found.threat.radius
    else:
        values, norm, end = found.values, found.norm, np.inf
        said = f"{', '.join(map(attack_name, found.attacks))}, n = {len(values):,}"
    reached = np.sort(values[np.isfinite(values)])
    if not reached.any():
        raise ConfigurationError(
            "plots: expected distances of broken samples, got none; evaluate with a larger eps, or with "
            "robustkit.minimal_distances"
        )
    ax = axes(ax)
    share = np.arange(len(reached) + 1) / len(values)
    ax.step([0.0, *reached], share, where="post", color=ATTACKED, linewidth=2)
    ax.fill_between([0.0, *reached], share, step="post", color=ATTACKED, alpha=0.15, linewidth=0)
    last = float(reached[-1])
    if np.isfinite(end):  # nothing beyond was searched
        ax.plot([last, max(end, last)], [share[-1]] * 2, color=ATTACKED, linewidth=2)
        last = max(end, last)
    ax.set_xlim(0, 1.03 * last)
    percent_axis(ax, "y")
    ax.set_ylim(0, min(1.03, 1.15 * share[-1]))
    ax.set(xlabel=f"adversarial distance ({norm})", ylabel="samples broken")
    head(ax, "Distances", said)
    return ax


def convergence(evaluation: Evaluation, ax: Axes | None = None) -> Axes:
    """Returns the best margin so far by step, the mean over the samples of an attack, for each that records it.

    Attacks of a cascade see different samples: compare how a line flattens, not how high it lies.

    Args:
        evaluation: What to draw.
        ax: Where to draw.

    Raises:
        ConfigurationError: If no attack records its path.
    """
    evaluated(evaluation)
    runs = [run for run in evaluation.runs if len(run.loss_path) > 1]
    if not runs:
        given = ", ".join(run.label for run in evaluation.runs)
        raise ConfigurationError(
            f"plots: expected an attack of several steps, got {given}; evaluate with PGD, APGD or a protocol"
        )
    ax = axes(ax)
    for place, run in enumerate(runs):
        colour, dash = SERIES[place % len(SERIES)], DASHES[place % len(DASHES)]
        steps, name = range(len(run.loss_path)), plain(run.label, 30)
        ax.plot(steps, run.loss_path, color=colour, linestyle=dash, label=name)
    lengths = [len(run.loss_path) - 1 for run in runs]
    if max(lengths) > WIDE * min(lengths):
        ax.set_xscale("symlog", linthresh=min(lengths))
    ax.set(xlabel="step, of all restarts", ylabel="best margin so far, mean (logits)", xlim=(0, max(lengths)))
    head(ax, "Attack convergence", about(evaluation), key="top")
    return ax
