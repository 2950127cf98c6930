"""All defenses: training objectives, ensembles, calibrators, smoothing, preprocessing.

A training objective is a file in this folder, a line here and a row in tests/test_defenses.py.
"""

from __future__ import annotations

if __name__ != "robustkit.defenses":
    raise ImportError("import robustkit.defenses; defenses/ is a link for people")

import dataclasses
from typing import Any

from robustkit.attacks import PGD, setting_value
from robustkit.attacks.threat import Eps
from robustkit.base.errors import ConfigurationError, suggest
from robustkit.defenses.augment.apply import Augmentation, create_augmentation
from robustkit.defenses.base import Minibatch, Objective, Wrapper
from robustkit.defenses.calibrators import Isotonic, Temperature, VectorScaling, calibrate
from robustkit.defenses.ensemble import Ensemble, fit_weights, fresh_copies, snapshots
from robustkit.defenses.logits import Logits
from robustkit.defenses.objectives.augmix import AugMixJSD
from robustkit.defenses.objectives.awp import AWP
from robustkit.defenses.objectives.fgsm_rs import FGSMRS
from robustkit.defenses.objectives.free import Free
from robustkit.defenses.objectives.gradalign import GradAlign
from robustkit.defenses.objectives.mart import MART
from robustkit.defenses.objectives.n_fgsm import NFGSM
from robustkit.defenses.objectives.pgd_training import PGDTraining
from robustkit.defenses.objectives.standard import Standard
from robustkit.defenses.objectives.trades import TRADES
from robustkit.defenses.preprocess import JPEG, BitDepth, MedianBlur
from robustkit.defenses.smoothing import Smoothed, certified_accuracy, certified_radius
from robustkit.defenses.training import Diverged, Epoch, Recipe, fit
from robustkit.maths.norms import Norm

__all__ = [
    "AWP",
    "FGSMRS",
    "JPEG",
    "MART",
    "NFGSM",
    "OBJECTIVES",
    "TRADES",
    "AugMixJSD",
    "Augmentation",
    "BitDepth",
    "Diverged",
    "Ensemble",
    "Epoch",
    "Free",
    "GradAlign",
    "Isotonic",
    "Logits",
    "MedianBlur",
    "Minibatch",
    "Objective",
    "PGDTraining",
    "Recipe",
    "Smoothed",
    "Standard",
    "Temperature",
    "VectorScaling",
    "calibrate",
    "certified_accuracy",
    "certified_radius",
    "create",
    "create_augmentation",
    "fit",
    "fit_weights",
    "fresh_copies",
    "snapshots",
]

OBJECTIVES: dict[str, type[Objective]] = {
    item.name: item
    for item in list(globals().values())
    if isinstance(item, type) and issubclass(item, Objective) and item not in (Objective, Wrapper)
}


def create(spec: str, norm: Norm = "Linf", eps: Eps = "8/255") -> Objective:
    """Returns the objective that a text such as "trades:beta=6,steps=10" or "awp:gamma=0.005+trades" describes.

    Args:
        spec: A name, then optionally a colon and settings `name=value` parted by commas; settings of the inner PGD
            (steps, step_size, ...) too, which makes 10 steps otherwise. Wrappers stand in front, joined by "+".
        norm: Norm of the budget.
        eps: Radius of the budget.

    Raises:
        ConfigurationError: If an objective or a setting does not exist or a value cannot be meant.
    """
    *wrappers, core = spec.split("+")
    objective = _create(core, {"norm": norm, "eps": eps})
    for wrapper in reversed(wrappers):
        objective = _create(wrapper, {"objective": objective})
    return objective


def _create(spec: str, given: dict[str, Any]) -> Objective:
    name, _, rest = spec.partition(":")
    name = name.strip()
    if name not in OBJECTIVES:
        raise ConfigurationError(f"objective: expected a known name, got {name!r}{suggest(name, OBJECTIVES)}")
    kind = OBJECTIVES[name]
    if "objective" in given and not issubclass(kind, Wrapper):
        wrappers = ", ".join(k for k, v in OBJECTIVES.items() if issubclass(v, Wrapper))
        raise ConfigurationError(f"objective: expected a wrapper ({wrappers}) before '+', got {name!r}; reorder them")
    if issubclass(kind, Wrapper) and "objective" not in given:
        raise ConfigurationError(f"objective {name}: expected one to wrap, got none; write {name}+fgsm-rs, say")
    fields = {field.name for field in dataclasses.fields(kind)}
    of_attack = {field.name for field in dataclasses.fields(PGD)} if "attack" in fields else set()
    settings, inner = {key: value for key, value in given.items() if key in fields}, {"steps": 10, **given}
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        known = (fields - {"attack", "objective"}) | of_attack
        if not equals or key not in known:
            raise ConfigurationError(
                f"objective {name}: expected settings name=value, got {item!r}{suggest(key, known)}"
            )
        (settings if key in fields else inner)[key] = setting_value(value)
    if "attack" in fields:
        settings["attack"] = PGD(**inner)
    return kind(**settings)
