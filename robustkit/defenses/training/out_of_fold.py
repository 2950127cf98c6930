"""What a network says of training samples it was not trained on: one training per fold, with the others left out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import NoneType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustkit.base.errors import InvalidEvaluation
from robustkit.base.settings import function, instance, integer, wrong
from robustkit.data.labels import as_labels
from robustkit.data.suspicious import folds as split_into
from robustkit.defenses.base import Objective
from robustkit.defenses.logits import held_out
from robustkit.defenses.objectives.standard import Standard
from robustkit.defenses.training.loop import fit
from robustkit.defenses.training.periodic_tasks import TrainingProgress
from robustkit.defenses.training.recipe import Recipe
from robustkit.model.classifier import Classifier, as_classifier

_ROWS = 256  # samples a finished network sees at once

Progress = Callable[[int, int, TrainingProgress], None]


def out_of_fold(
    classifier: Classifier | nn.Module,
    x: Tensor,
    y: Tensor,
    groups: NDArray[np.int64] | None = None,
    *,
    folds: int = 3,
    objective: Objective | None = None,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Returns the probabilities (N, K) that a network gives to samples it was not trained on.

    For each fold a copy of the network, from the weights it came with, is trained on the other folds. Weights that have
    seen these very samples and labels already make the answer worthless: they know the wrong labels by heart.

    Args:
        classifier: The network where training begins; left as it was.
        x: Inputs (N, ...), in the bounds of the classifier.
        y: Class indices (N,), every class that occurs at least twice.
        groups: Samples of one group (N,), such as copies, are never on both sides; each its own by default.
        folds: How many, at least 2; fewer where a class has not as many samples.
        objective: What to minimise, plain cross-entropy by default.
        recipe: How to train each; its seed decides the folds, too.
        progress: Called with the fold from 1, how many there are, and what `fit` reports.

    Raises:
        ConfigurationError: If a setting is invalid.
        InvalidEvaluation: If the data leave the bounds or labels are no classes.
        Diverged: If a loss becomes NaN or infinite.
    """
    folds = integer("out_of_fold", "folds", folds, least=2)
    instance("out_of_fold", "classifier", classifier, Classifier, nn.Module)
    instance("out_of_fold", "objective", objective, Objective, NoneType)
    instance("out_of_fold", "recipe", recipe, Recipe, NoneType)
    if progress is not None:
        function("out_of_fold", "progress", progress)
    classifier, recipe = as_classifier(classifier), recipe or Recipe()
    x, y = classifier.accept(x), as_labels(y)
    groups = np.arange(len(y)) if groups is None else groups
    for name, rows in (("y", y), ("groups", groups)):
        if not isinstance(rows, np.ndarray | Tensor) or rows.shape != (len(x),):
            raise wrong("out_of_fold", name, rows, f"one integer for each of {len(x)} inputs")
    _, labels = np.unique(y.cpu().numpy(), return_inverse=True)
    if np.bincount(labels).min() < 2 or labels.max() < 1:
        raise InvalidEvaluation("out_of_fold: expected two classes or more, each at least twice, got others; add some")
    splits = split_into(labels, np.asarray(groups), folds, recipe.seed)
    found: NDArray[np.float64] | None = None
    for number, (rest, fold) in enumerate(splits, 1):
        one = classifier.replace(model=copy.deepcopy(classifier.module))
        told = _of_fold(progress, number, len(splits))
        fit(one, x[rest], y[rest], objective or Standard(), recipe, ids=torch.from_numpy(rest), progress=told)
        logits, _ = held_out(one, x[fold], y[fold], _ROWS)
        shares = one.probabilities(logits).cpu().numpy()
        found = np.zeros((len(labels), shares.shape[1])) if found is None else found
        found[fold] = shares
    assert found is not None
    return found


def _of_fold(progress: Progress | None, number: int, count: int) -> Callable[[TrainingProgress], None] | None:
    return None if progress is None else lambda now: progress(number, count, now)
