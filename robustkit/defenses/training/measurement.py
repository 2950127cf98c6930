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
    own = samples.take(torch.arange(len(samples))[ranks.rank :: ranks.count])
    right = _right(classifier, own, recipe.batch_size)
    held = {"clean": right}
    if attack:
        fgsm = FGSM(norm=attack.norm, eps=attack.eps)
        for name, search in (("robust", attack), ("fgsm", fgsm)):
            held[name] = right
            if len(own):
                found = search(classifier, own.x, own.y, ids=own.ids, seed=recipe.seed, batch_size=recipe.batch_size)
                held[name] = right & ~found.success
    counts = ranks.added(torch.stack([hits.sum() for hits in held.values()])).tolist()
    return Figures(len(samples), **{name: k / len(samples) for name, k in zip(held, counts, strict=True)})


def _right(classifier: Classifier, samples: Samples, batch_size: int) -> Tensor:
    """Returns which of the samples (N,) are predicted correctly."""
    if not len(samples):
        return samples.y == samples.y
    places = torch.split(torch.arange(len(samples), device=samples.y.device), batch_size)
    with classifier.frozen(), torch.no_grad():
        parts = [samples.take(place) for place in places]
        return torch.cat([classifier.logits(part.x).argmax(dim=1) == part.y for part in parts])
