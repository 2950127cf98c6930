"""The usual six plots of an evaluation in one figure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from robustkit.base.errors import ConfigurationError
from robustkit.base.optional import package
from robustkit.evaluation.result import Evaluation
from robustkit.plots.accuracy import per_class, robustness_curve
from robustkit.plots.attack_progress import convergence, distances, margins
from robustkit.plots.canvas import MUTED, class_names_of
from robustkit.plots.predictions import confusion, gallery, reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def overview(evaluation: Evaluation, *, class_names: Sequence[str] | None = None) -> Figure:
    """Returns a figure of accuracy per class, confusion, reliability, examples, margins and convergence.

    Where the evaluation has a curve it stands in the place of the examples, and distances do where there is neither.
    What there is nothing to draw of says so.

    Args:
        evaluation: What to draw.
        class_names: In the order of the class indices; by default those of the data.

    Raises:
        ConfigurationError: If matplotlib is not installed, or there are names of another number of classes.
    """
    names = class_names_of(evaluation, class_names)
    places: list[tuple[Callable[..., Axes], ...]] = [
        (partial(per_class, class_names=names),),
        (partial(confusion, class_names=names),),
        (reliability,),
        (robustness_curve, partial(gallery, class_names=names), distances),
        (margins,),
        (convergence,),
    ]
    figure: Figure = package("matplotlib.figure", "plots").Figure((15, 9.5), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    figure.suptitle(f"{evaluation.dataset.name}: {evaluation}", fontsize="large")
    for ax, choice in zip(figure.subplots(2, 3).flat, places, strict=True):
        _first(choice, evaluation, ax)
    return figure


def _first(choice: Sequence[Callable[..., Axes]], evaluation: Evaluation, ax: Axes) -> None:
    """Draws the first plot of a choice that there is something for, or says what is missing."""
    for draw in choice:
        try:
            draw(evaluation, ax)
            return
        except ConfigurationError as nothing:
            missing = str(nothing)
    ax.text(0.5, 0.5, textwrap.fill(missing.replace("$", r"\$"), 40), ha="center", va="center", color=MUTED)
    ax.set_axis_off()
