"""What the model answers, and how sure of it it is: confusion, reliability, and pictures to look at."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import flag
from robustkit.evaluation.result import Evaluation
from robustkit.plots.canvas import (
    ATTACKED,
    CLEAN,
    MUTED,
    about,
    axes,
    class_names_of,
    evaluated,
    head,
    heat,
    inches,
    percent_axis,
    plain,
    reach,
    row_size,
)
from robustkit.report.document import ledger_summaries as tables
from robustkit.report.figures.pictures import gallery_item
from robustkit.report.text.words import decimal, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NUMBERED = 12  # classes up to which a confusion matrix holds its numbers
_SHOWN = 8


def reliability(evaluation: Evaluation, ax: Axes | None = None, *, attacked: bool | None = None) -> Axes:
    """Returns accuracy by mean confidence, a point a bin, the larger the more samples; calibrated is on the diagonal.

    Args:
        evaluation: What to draw.
        ax: Where to draw.
        attacked: On the worst points (True), on clean samples (False), or both (None).
    """
    evaluated(evaluation)
    attacked = attacked if attacked is None else flag("plots", "attacked", attacked)
    ax = axes(ax, 5.2)
    ax.plot([0, 1], [0, 1], color=MUTED, linestyle=":", linewidth=1)
    for side, name, colour, marker in ((False, "clean", CLEAN, "o"), (True, "attacked", ATTACKED, "s")):
        if attacked not in (None, side):
            continue
        measured = evaluation.calibration(attacked=side)
        bins = [(one.confidence, one.accuracy) for one in measured.reliability if one.accuracy and one.n]
        shares = [share for _, share in bins]
        x, values = [confidence or 0.0 for confidence, _ in bins], [share.value or 0.0 for share in shares]
        ax.errorbar(x, values, yerr=reach(shares), fmt="none", ecolor=colour, elinewidth=1, capsize=2, alpha=0.7)
        areas = [18 + 150 * share.n / measured.n for share in shares]
        name = f"{name}, ECE {decimal(measured.ece.value)}"
        ax.scatter(x, values, s=areas, c=colour, marker=marker, zorder=3, clip_on=False, label=name)
    percent_axis(ax, "x")
    percent_axis(ax, "y")
    ax.set(xlabel="mean confidence", ylabel="accuracy")
    head(ax, "Reliability", about(evaluation), key="above")
    return ax


def confusion(
    evaluation: Evaluation,
    ax: Axes | None = None,
    *,
    attacked: bool = True,
    class_names: Sequence[str] | None = None,
) -> Axes:
    """Returns counts of samples by class and answer, shaded by their share of the class.

    With more than 25 classes it is bars of the mistakes that the attacks added most of, clean and attacked.

    Args:
        evaluation: What to draw.
        ax: Where to draw.
        attacked: At the worst points, else on clean samples.
        class_names: In the order of the class indices; by default those of the data.

    Raises:
        ConfigurationError: If there are no mistakes to draw, or names of another number of classes.
    """
    attacked, names = flag("plots", "attacked", attacked), class_names_of(evaluation, class_names)
    found = tables.confusion(evaluation.ledger, names)
    matrix = found.attacked if attacked else found.clean
    if matrix is None:
        return _confused_pairs(evaluation, found.pairs, ax)
    counts = np.array(matrix)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    side = min(4.2 + 0.2 * len(names), 8.0)
    ax = axes(ax, side, side)
    heat(ax, shares, "Blues", "share of the class", [[f"{n:,}" if n else "" for n in line] for line in matrix]
          if len(names) <= _NUMBERED else None)  # fmt: skip
    short = [plain(name, 14) for name in names]
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, short)) > 2 else {}
    ax.set_xticks(range(len(short)), short, size=row_size(ax, len(short)), **turned)
    ax.set_yticks(range(len(short)), short, size=row_size(ax, len(short)))
    ax.set(xlabel="predicted class", ylabel="true class")
    head(ax, f"Confusion {'under attack' if attacked else 'without attack'}", about(evaluation))
    return ax


def gallery(evaluation: Evaluation, ax: Axes | None = None, *, class_names: Sequence[str] | None = None) -> Axes:
    """Returns up to 8 samples, as many as there is room for, above their adversarial points and the magnified change.

    Args:
        evaluation: What to draw; its `examples` are the pictures.
        ax: Where to draw.
        class_names: In the order of the class indices; by default those of the data.

    Raises:
        ConfigurationError: If there are no examples, or they are no images.
    """
    names = class_names_of(evaluation, class_names)
    broken = [example for example in evaluation.examples if example.broken]
    if not broken:
        raise ConfigurationError(
            "plots: expected examples, got none: nothing was broken, or examples=0; evaluate with examples=8 or a "
            "larger eps"
        )
    found = [gallery_item(example, names, evaluation.threat) for example in broken]
    items = [item for item in found if item is not None][:_SHOWN]
    if not items:
        raise ConfigurationError(
            f"plots: expected images (C, H, W) with 1 or 3 channels, got inputs {evaluation.input_shape}; plot margins "
            "or distances instead"
        )
    ax = axes(ax, max(1.2 * len(items) + 0.9, 3.6), 5.2)
    items = items[: max(1, int(inches(ax)[0] / 0.8))]
    tall = items[0].clean.height / items[0].clean.width
    for column, item in enumerate(items):
        shown = (
            (item.clean, f"{plain(item.clean_prediction, 9)}: {percent(item.clean_confidence)}"),
            (item.adversarial, f"{plain(item.adversarial_prediction, 9)}: {percent(item.adversarial_confidence)}"),
            (item.difference, f"times {item.gain:g}"),
        )
        for line, (picture, text) in enumerate(shown):
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.png))).convert("RGB"))
            left, top = 1.1 * column, (tall + 0.25) * line
            ax.imshow(pixels, extent=(left, left + 1, top + tall, top), interpolation="nearest")
            ax.text(left + 0.5, top - 0.02, text, ha="center", va="bottom", fontsize="x-small")
    ax.set(xlim=(-0.02, 1.1 * len(items) - 0.08), ylim=(3 * tall + 0.52, -0.16), xticks=[])
    ax.set_yticks([(tall + 0.25) * line + tall / 2 for line in range(3)], ["clean", "adversarial", "difference"])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    head(ax, "Adversarial examples", f"{about(evaluation)}; with answers and confidence")
    return ax


def _confused_pairs(evaluation: Evaluation, pairs: Sequence[tables.ConfusedPair], ax: Axes | None) -> Axes:
    """Returns bars of the mistakes that the attacks added most of."""
    if not pairs:
        raise ConfigurationError(
            "plots: expected mistakes that the attacks added, got none; evaluate with a larger eps"
        )
    ax = axes(ax, height=1.6 + 0.34 * len(pairs))
    ticks = np.arange(len(pairs))
    ax.barh(ticks - 0.2, [pair.clean for pair in pairs], 0.38, color=CLEAN, label="clean")
    ax.barh(ticks + 0.2, [pair.attacked for pair in pairs], 0.38, color=ATTACKED, label="under attack")
    names = [f"{plain(pair.label, 16)} as {plain(pair.answer, 16)}" for pair in pairs]
    ax.set_yticks(ticks, names, size=row_size(ax, len(names)))
    ax.invert_yaxis()
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="samples")
    head(ax, "Mistakes the attacks added most of", about(evaluation), key="above")
    return ax
