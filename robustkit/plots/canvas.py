"""What all plots share: axes to draw on, the head above them, percent, intervals and colours."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from robustkit.attacks.names import attack_name
from robustkit.base.errors import ConfigurationError
from robustkit.base.optional import package
from robustkit.base.settings import every, instance, items
from robustkit.data.labels import names_of_classes
from robustkit.evaluation.result import Evaluation
from robustkit.maths.intervals import Proportion
from robustkit.report.text.words import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito 2008, "Color universal design"
CLEAN, ATTACKED, THIRD = "#56B4E9", "#D55E00", "#E69F00"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#767676")
MARKERS, DASHES = "osD^vPX", ("-", "--", "-.", ":")
MUTED = "#767676"  # can be read on black and on white
Key = Literal["above", "best", "top"]
WIDE = 12
"""The largest number on an axis over the smallest: above, the axis is logarithmic."""


def axes(ax: Axes | None, width: float = 6.4, height: float = 4.8) -> Axes:
    """Returns the axes to draw on: those given, or new ones on a figure of so many inches that no window shows.

    Raises:
        ConfigurationError: If it is no Axes, or matplotlib is not installed.
    """
    if ax is None:
        figure = package("matplotlib.figure", "plots").Figure((width, height), layout="constrained")
        new: Axes = figure.subplots()
        return new
    instance("plots", "ax", ax, package("matplotlib.axes", "plots").Axes, fix="pass one of plt.subplots()")
    return ax


def inches(ax: Axes) -> tuple[float, float]:
    """Returns width and height of the axes, as they were before anything was written around them."""
    box, figure = ax.get_position(), ax.get_figure()
    return box.width * figure.bbox.width / figure.dpi, box.height * figure.bbox.height / figure.dpi


def ink(ax: Axes) -> str:
    """Returns the colour of the text, which differs from the ground in every style."""
    colour: str = ax.xaxis.label.get_color()
    return colour


def head(ax: Axes, title: str, caption: str, key: Key | None = None, marks: Any = None) -> None:
    """Writes a title, a caption below it, and the legend where it belongs.

    Args:
        ax: Where.
        title: One line.
        caption: Who was counted, and by which protocol.
        key: Whether the legend stands above the plot; in it, where most room is; or in it at the top, where the axis is
            extended for it.
        marks: What the legend lists, if not all that has a label.
    """
    size = _small()
    room = inches(ax)[0] * 72 / (0.55 * size)  # in letters
    lines = textwrap.wrap(caption.replace("$", r"\$"), max(20, int(room)))
    marks = ax.get_legend_handles_labels()[0] if marks is None else marks
    raised = 4.0
    if key == "best" and marks:
        ax.legend(handles=marks, fontsize="small")
    elif key and marks:
        columns = max(1, min(len(marks), int(room / (max(len(mark.get_label()) for mark in marks) + 6))))
        height = 1.35 * size * math.ceil(len(marks) / columns)
        legend = ax.legend(
            handles=marks, loc="lower left" if key == "above" else "upper left", bbox_to_anchor=(0, 1), ncols=columns,
            fontsize="small", frameon=False, borderpad=0, borderaxespad=0.4, handlelength=1.5, columnspacing=1.2,
            labelspacing=0.2,
        )  # fmt: skip
        legend.set_in_layout(False)  # the title above makes room for it
        if key == "above":
            raised += height
        else:
            low, high = ax.get_ylim()
            ax.set_ylim(low, low + (high - low) / (1 - min(0.6, height / (72 * inches(ax)[1]))))
    said = ax.annotate(
        "\n".join(lines), (0, 1), (0, raised), xycoords="axes fraction", textcoords="offset points", fontsize="small",
        color=MUTED, va="bottom", linespacing=1.2,
    )  # fmt: skip
    said.set_in_layout(False)
    ax.set_title(title, loc="left", pad=raised + 1.25 * size * len(lines) + 3, fontsize="medium", fontweight="bold")


def row_size(ax: Axes, rows: int) -> float:
    """Returns the size of letters, in points, at which so many rows have room for a line each."""
    return min(_small(), max(4.0, 0.75 * 72 * inches(ax)[1] / max(rows, 1)))


def _small() -> float:
    size: float = package("matplotlib.font_manager", "plots").FontProperties(size="small").get_size_in_points()
    return size


def percent_axis(ax: Axes, which: Literal["x", "y"]) -> None:
    """Makes an axis one of fractions, shown as percent from 0 to 100."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_formatter(package("matplotlib.ticker", "plots").PercentFormatter(1, decimals=0, symbol=" %"))
    (ax.set_xlim if which == "x" else ax.set_ylim)(0, 1.03)
    ax.grid(axis=which, color=MUTED, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)


def reach(shares: Sequence[Proportion]) -> NDArray[np.float64]:
    """Returns how far the Wilson intervals reach down and up from their values, shape (2, N), for error bars."""
    ends = [(share.value or 0.0, *share.wilson) for share in shares]
    return np.array([[max(v - low, 0.0) for v, low, _ in ends], [max(high - v, 0.0) for v, _, high in ends]])


def heat(
    ax: Axes,
    shares: NDArray[np.float64],
    colours: str,
    label: str,
    numbers: Sequence[Sequence[str]] | None,
    aspect: Literal["equal", "auto"] = "equal",
) -> None:
    """Draws a matrix of fractions as cells, with a number in each and a bar that explains the shades."""
    image = ax.imshow(shares, cmap=colours, vmin=0, vmax=1, aspect=aspect)
    ticks = package("matplotlib.ticker", "plots").PercentFormatter(1, decimals=0, symbol=" %")
    ax.get_figure().colorbar(image, ax=ax, label=label, format=ticks, shrink=0.9)
    width, size = inches(ax)[0], row_size(ax, len(shares))
    longest = max((len(number) for line in numbers or () for number in line), default=0)
    if size < 6 or 72 * width / shares.shape[1] < (0.65 * longest + 0.3) * size:
        numbers = None  # no room
    for i, line in enumerate(numbers or ()):
        for j, number in enumerate(line):
            red, green, blue, _ = image.cmap(float(shares[i, j]))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            ax.text(j, i, number, ha="center", va="center", fontsize=size, color="white" if dark else "black")


def evaluated(given: object) -> Evaluation:
    """Returns an evaluation.

    Raises:
        ConfigurationError: If it is none.
    """
    instance("plots", "evaluation", given, Evaluation, fix="pass what robustkit.evaluate returned")
    assert isinstance(given, Evaluation)
    return given


def about(evaluation: Evaluation, n: int | None = None) -> str:
    """Returns the threat, the protocol, how many samples are counted, and a doubt where there is one."""
    threat = evaluation.threat
    doubt = f"; {evaluation.quality}: likely too high" if evaluation.quality in ("unreliable", "invalid") else ""
    target = "" if threat.target is None else f" to class {threat.target}"
    n = len(evaluation.ledger) if n is None else n
    protocol = evaluation.protocol
    names = ", ".join(attack_name(run.label) for run in evaluation.runs)
    by = names if protocol.name == "custom" else protocol.label
    return f"{threat.norm} {threat.eps}{target}, {by}, n = {n:,}{doubt}"


def class_names_of(evaluation: Evaluation, given: Sequence[str] | None) -> tuple[str, ...]:
    """Returns what the classes are called: as given, else as in the data, else by number.

    Raises:
        ConfigurationError: If not as many are given as there are classes.
    """
    count = evaluated(evaluation).num_classes
    names = None if given is None else items("plots", "class_names", given)
    every("plots", "class_names", names or [], str)
    if names is not None and len(names) != count:
        raise ConfigurationError(f"plots: expected {count} class_names, got {len(names)}; give one per class")
    return names_of_classes(count, names, evaluation.dataset.class_names)


def plain(name: str, width: int) -> str:
    """Returns somebody else's name, cut, and not read as a formula."""
    return shorten(name, width).replace("$", r"\$")


def spread(places: Sequence[float], room: float) -> list[int]:
    """Returns which of the ascending places can be labelled when a label takes `room`; the last always can."""
    kept: list[int] = []
    last = math.inf
    for index in reversed(range(len(places))):
        if last - places[index] >= room:
            kept.append(index)
            last = places[index]
    return kept[::-1]
