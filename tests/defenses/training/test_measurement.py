"""What is measured after an epoch, against counts by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from objective_rows import EVERY
from torch import nn

from robustkit.attacks import PGD
from robustkit.base.processes import Ranks
from robustkit.defenses.training import Recipe
from robustkit.defenses.training.measurement import measure, measuring_attack
from robustkit.defenses.training.samples import Samples
from robustkit.model.classifier import Classifier


@pytest.fixture
def threshold():
    """A classifier of one number: class 1 from 0.5 on."""
    model = nn.Linear(1, 2, bias=True)
    model.weight.data, model.bias.data = torch.tensor([[-1.0], [1.0]]), torch.tensor([0.5, -0.5])
    return Classifier(model)


@pytest.fixture
def samples():
    """Five right ones, at distances 0.05 to 0.45 of the threshold, and one that is wrong."""
    x = torch.tensor([[0.55], [0.35], [0.75], [0.15], [0.95], [0.9]])
    return Samples(x, torch.tensor([1, 0, 1, 0, 1, 0]), torch.arange(6))


RECIPE = Recipe(batch_size=4)


def test_accuracies_are_the_counts_of_a_threshold(threshold, samples):
    found = measure(threshold, samples, PGD(eps=0.2, steps=3), RECIPE, Ranks())
    assert (found.n, found.clean, found.robust, found.fgsm) == (6, 5 / 6, 3 / 6, 3 / 6)


def test_without_an_attack_only_clean_accuracy_is_measured(threshold, samples):
    found = measure(threshold, samples, None, RECIPE, Ranks())
    assert found.clean == 5 / 6
    assert math.isnan(found.robust)
    assert math.isnan(found.fgsm)


def test_what_is_wrong_from_the_start_is_not_robust_whatever_the_attack_says(threshold, samples):
    class Finds:
        norm, eps = "Linf", 0.0

        def __init__(self, success):
            self.success = success

        def __call__(self, classifier, x, y, **_):
            return SimpleNamespace(success=torch.full((len(y),), self.success))

    assert measure(threshold, samples, Finds(False), RECIPE, Ranks()).robust == 5 / 6
    assert measure(threshold, samples, Finds(True), RECIPE, Ranks()).robust == 0


def test_every_process_measures_its_share_and_the_shares_are_all(threshold, samples):
    class Alone(Ranks):
        def added(self, tensor):
            return tensor

    parts = [measure(threshold, samples, PGD(eps=0.2, steps=3), RECIPE, Alone(rank, 4)) for rank in range(4)]
    assert [round(6 * part.clean) for part in parts] == [2, 1, 1, 1]
    assert sum(6 * part.robust for part in parts) == pytest.approx(3)
    more = [measure(threshold, samples, PGD(eps=0.2, steps=3), RECIPE, Alone(rank, 8)) for rank in range(8)]
    assert sum(6 * part.robust for part in more) == pytest.approx(3)  # two of them have no samples


def test_the_measuring_attack_has_norm_and_eps_of_the_objective_and_steps_of_the_recipe():
    attack = measuring_attack(EVERY["fgsm-rs"], Recipe(val_steps=7))
    assert (attack.norm, attack.eps, attack.steps) == ("Linf", 0.1, 7)
    assert measuring_attack(EVERY["standard"], Recipe()) is None
