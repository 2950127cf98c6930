"""Optimisers, schedules and averages against their formulas."""

from __future__ import annotations

import pytest
import torch
from tiny_training import data, net

from robustkit.defenses import Standard, fit
from robustkit.defenses.training import Recipe
from robustkit.defenses.training.optimizer import make_average, make_optimizer, make_schedule
from robustkit.model.classifier import Classifier


def test_schedules_follow_their_formulas(trained):
    def rates(**settings):
        return [epoch.lr for epoch in trained(Standard(), epochs=4, lr=0.1, optimizer="sgd", **settings)[1].epochs]

    assert rates(schedule="constant") == [0.1] * 4
    assert rates(schedule="cosine") == pytest.approx([0.0853553, 0.05, 0.0146447, 0.0], abs=1e-6)
    assert rates(schedule="step", milestones=(0.25, 0.75)) == pytest.approx([0.01, 0.01, 0.001, 0.001])
    assert rates(schedule="cyclic") == pytest.approx([0.05, 0.1, 0.05, 0.0])
    assert rates(schedule="warm-restarts", restart_epochs=2) == pytest.approx([0.05, 0.1, 0.05, 0.1])
    assert rates(schedule="one-cycle")[-1] < 1e-5


def test_averages_are_the_means_they_claim(start):
    x, y = data(8)

    def weights(**settings):
        model = net()
        model.load_state_dict(start)
        arguments = {"optimizer": "sgd", "schedule": "constant", "lr": 0.1, "batch_size": 8, "held_out": 0.0}
        fit(Classifier(model), x, y, Standard(), **{**arguments, **settings})
        return model.state_dict()

    one, two = weights(epochs=1), weights(epochs=2)
    moving = weights(epochs=2, average="ema", ema_decay=0.75)
    torch.testing.assert_close(moving["0.weight"], 0.75 * one["0.weight"] + 0.25 * two["0.weight"])
    mean = weights(epochs=2, average="swa", swa_start=0.0)
    torch.testing.assert_close(mean["1.running_mean"], (one["1.running_mean"] + two["1.running_mean"]) / 2)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "adagrad"])
def test_an_optimiser_takes_its_numbers_from_the_recipe(name):
    recipe = Recipe(optimizer=name, lr=0.3, weight_decay=0.2, momentum=0.7, nesterov=name == "sgd")
    optimizer = make_optimizer(recipe, [torch.nn.Parameter(torch.ones(2))])
    (group,) = optimizer.param_groups
    assert type(optimizer).__name__.lower() == name
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.2)
    if name == "sgd":
        assert (group["momentum"], group["nesterov"]) == (0.7, True)


@pytest.mark.parametrize("schedule", ["one-cycle", "cyclic", "cosine", "warm-restarts", "step", "constant"])
def test_no_schedule_moves_momentum_or_exceeds_the_rate_of_the_recipe(schedule):
    recipe = Recipe(optimizer="sgd", momentum=0.5, lr=0.3, schedule=schedule, epochs=3, restart_epochs=2)
    optimizer = make_optimizer(recipe, [torch.nn.Parameter(torch.ones(2))])
    moves = make_schedule(recipe, optimizer, 4)
    for _ in range(12):
        assert 0 <= optimizer.param_groups[0]["lr"] <= 0.3 + 1e-9
        assert optimizer.param_groups[0]["momentum"] == 0.5
        optimizer.step()
        moves.step()


def test_no_average_is_made_unless_asked_for_and_none_learns():
    model = torch.nn.Linear(2, 2)
    assert make_average(Recipe(), model) is None
    for average in ("ema", "swa"):
        made = make_average(Recipe(average=average), model)
        assert not any(p.requires_grad for p in made.parameters())
