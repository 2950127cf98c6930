"""What is measured after an epoch: clean accuracy, and accuracy under PGD and FGSM."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustkit.attacks.base import Attack
from robustkit.attacks.fgsm import FGSM
from robustkit.attacks.pgd import PGD
from robustkit.base.processes import Ranks
from robustkit.data.dataset import Batch
from robustkit.defenses.base import Objective
from robustkit.defenses.training.recipe import Recipe
from robustkit.defenses.training.samples import Samples
from robustkit.model.classifier import Classifier


@dataclass(frozen=True)
class Figures:
    """Accuracies on a fixed set of `n` samples: clean, under PGD (`robust`) and under FGSM; NaN where not measured."""

    n: int
    clean: float
    robust: float = math.nan
    fgsm: float = math.nan


@dataclass(frozen=True)
class Epoch:
    """One pass over the data: its `number` from 1, mean loss, last learning rate, seconds so far, and figures."""

    number: int
    loss: float
    lr: float
    seconds: float
    figures: Figures | None = None


def measuring_attack(objective: Objective, recipe: Recipe) -> Attack | None:
    """Returns PGD within the eps of the objective, or None where it defends against nothing."""
    inner = objective.inner
    return None if inner is None else PGD(norm=inner.norm, eps=inner.eps, steps=recipe.val_steps)


def measure(classifier: Classifier, samples: Samples, attack: Attack | None, recipe: Recipe, ranks: Ranks) -> Figures:
    """Returns the accuracies on `samples`, of which every process takes its share; the model stays as it is.

    Args:
        classifier: The model.
        samples: What to measure on.
        attack: The attack for `robust`, whose eps FGSM takes too; None measures clean accuracy alone.
        recipe: Seed and batch size.
        ranks: The processes that measure together.
    """
    searches = {"robust": attack, "fgsm": FGSM(norm=attack.norm, eps=attack.eps)} if attack else {}
    counts = torch.zeros(1 + len(searches), dtype=torch.int64, device=classifier.device)
    own = torch.arange(len(samples), device="cpu")[ranks.rank :: ranks.count]
    for part in samples.take(own).parts(recipe.batch_size):
        right = _right(classifier, part, recipe.batch_size)
        held = [right]
        for search in searches.values():
            found = search(classifier, part.x, part.y, ids=part.ids, seed=recipe.seed, batch_size=recipe.batch_size)
            held.append(right & ~found.success)
        counts += torch.stack([hits.sum() for hits in held])
    shares = [count / len(samples) for count in ranks.added(counts).tolist()]
    return Figures(len(samples), **dict(zip(("clean", *searches), shares, strict=True)))


def _right(classifier: Classifier, samples: Batch, batch_size: int) -> Tensor:
    """Returns which of the samples (N,) are predicted correctly."""
    starts = range(0, len(samples), batch_size)
    with classifier.frozen(), torch.no_grad():
        parts = [samples.rows(start, start + batch_size) for start in starts]
        return torch.cat([classifier.logits(part.x).argmax(dim=1) == part.y for part in parts])
