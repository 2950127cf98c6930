"""The recipe: its settings, their types and ranges."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny_training import data, net

from robustkit.base.errors import ConfigurationError
from robustkit.defenses import Standard, fit
from robustkit.defenses.training import Recipe
from robustkit.model.classifier import Classifier


def test_a_recipe_reads_from_toml(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        'epochs = 3\nlr = 1\nschedule = "step"\nmilestones = [0.5, 0.9]\neval-every = 2\n'
    )
    expected = Recipe(epochs=3, lr=1.0, schedule="step", milestones=(0.5, 0.9), eval_every=2)
    assert Recipe.read(tmp_path / "recipe.toml") == expected
    (tmp_path / "recipe.toml").write_text("epochs = ")
    with pytest.raises(ConfigurationError, match="expected a TOML file"):
        Recipe.read(tmp_path / "recipe.toml")
    with pytest.raises(ConfigurationError, match="expected a TOML file"):
        Recipe.read(tmp_path / "absent.toml")


def test_what_may_be_left_out_can_be_called_none():
    assert Recipe(augment="none", clip="none", patience="none") == Recipe()
    with pytest.raises(ConfigurationError, match="expected lr to be of type float, got 'none'"):
        Recipe(lr="none")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 1}, "did you mean 'epochs'"),
        ({"epochs": 0}, "expected epochs in 1..inf, got 0"),
        ({"epochs": 1.5}, "epochs to be of type int, got 1.5"),
        ({"epochs": True}, "epochs to be of type int, got True"),
        ({"lr": 0}, "expected lr in"),
        ({"lr": "0.1"}, "lr to be of type float, got '0.1'"),
        ({"lr": float("nan")}, "lr to be of type float, got nan"),
        ({"optimizer": "adamW"}, "did you mean 'adamw'"),
        ({"milestones": 0.5}, "milestones to be a list"),
        ({"held_out": 0.9}, "held_out in 0..0.5"),
        ({"nesterov": True, "momentum": 0.0}, "momentum > 0 with nesterov"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        fit(Classifier(net()), *data(), Standard(), **settings)


def test_the_text_of_a_recipe_is_what_checkpoints_and_fingerprints_hold():
    assert repr(Recipe()) == (
        "Recipe(epochs=10, batch_size=128, augment=None, optimizer='adamw', lr=0.01, momentum=0.9, nesterov=False,"
        " weight_decay=0.0005, l1=0.0, clip=None, schedule='one-cycle', milestones=(0.5, 0.75), gamma=0.1,"
        " restart_epochs=10, eps_warmup=0.0, average='none', ema_decay=0.999, swa_start=0.75, precision='fp32',"
        " inner_fp32=False, channels_last=None, head_epochs=0, head=None, held_out=0.1, val_limit=1000, val_steps=10,"
        " eval_every=1, select='auto', patience=None, minutes=None, stop_after=None, on_catastrophic='stop',"
        " guard_every=200, save_minutes=10.0, trackers=(), seed=0)"
    )
    assert repr(Recipe(lr=1, milestones=[1, np.float64(0.5)], gamma=np.float64(0.5))) == repr(
        Recipe(lr=1.0, milestones=(1.0, 0.5), gamma=0.5)
    )
    assert hash(Recipe(milestones=[0.5])) == hash(Recipe(milestones=(0.5,)))


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("name", ["epochs", "patience", "stop_after", "seed", "lr", "clip", "minutes", "held_out"])
def test_true_and_false_are_no_numbers(name, value):
    kind = "int" if name in ("epochs", "patience", "stop_after", "seed") else "float"
    with pytest.raises(ConfigurationError, match=f"expected {name} to be of type {kind}, got {value}; correct it"):
        Recipe(**{name: value})


@pytest.mark.parametrize("value", [0, 1, "true", "no"])
@pytest.mark.parametrize("name", ["nesterov", "inner_fp32", "channels_last"])
def test_numbers_and_words_are_neither_true_nor_false(name, value):
    with pytest.raises(ConfigurationError, match=f"expected {name} to be of type bool, got"):
        Recipe(**{name: value})


LIMITS = {
    **dict.fromkeys(("epochs", "batch_size", "restart_epochs", "val_limit", "val_steps", "eval_every"), (1, None)),
    **dict.fromkeys(("patience", "stop_after", "guard_every"), (1, None)),
    **dict.fromkeys(("weight_decay", "l1", "eps_warmup", "minutes", "save_minutes"), (0.0, None)),
    **dict.fromkeys(("momentum", "ema_decay", "swa_start", "gamma"), (0.0, 1.0)),
    "lr": (1e-12, None),
    "clip": (1e-12, None),
    "held_out": (0.0, 0.5),
    "head_epochs": (0, None),
    "seed": (0, 2**63 - 1),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_number_may_be_its_limit_and_nothing_beyond(name):
    low, high = LIMITS[name]
    below = low - 1 if isinstance(low, int) else low - 1e-13
    for value, good in ((low, True), (below, False), (high, True), (high and high * 2, False)):
        if value is None:
            continue
        if good:
            assert getattr(Recipe(**{name: value}), name) == value
        else:
            with pytest.raises(ConfigurationError, match=rf"recipe: expected {name} in .*\.\..*, got .*; correct it$"):
                Recipe(**{name: value})


def test_every_number_of_the_recipe_has_its_limits_here():
    numbers = {name for name, value in dataclasses.asdict(Recipe()).items() if type(value) in (int, float)}
    assert numbers | {"clip", "patience", "minutes", "stop_after"} == set(LIMITS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", True, None])
def test_a_list_of_numbers_holds_finite_numbers(value):
    with pytest.raises(ConfigurationError, match="expected milestones to be of type float, got"):
        Recipe(milestones=[0.5, value])


def test_a_recipe_with_changes_is_checked_as_a_new_one():
    assert Recipe(epochs=3).having({"lr": 1, "patience": "none"}) == Recipe(epochs=3, lr=1.0)
    with pytest.raises(ConfigurationError, match=r"expected a known setting, got 'learning_rate'; .*"):
        Recipe().having({"learning_rate": 0.1})
    with pytest.raises(ConfigurationError, match="expected epochs in"):
        Recipe().having({"epochs": -1})
