"""The training objectives. Adding one is a file in this folder, a line here and a row in tests/objective_rows.py."""

from __future__ import annotations

import dataclasses
from typing import Any

from robustkit.attacks import PGD
from robustkit.attacks.threat import Eps
from robustkit.base.errors import ConfigurationError
from robustkit.base.registry import Registry, named
from robustkit.base.settings import instance, read, split
from robustkit.defenses.base import Minibatch, Objective, Wrapper
from robustkit.defenses.objectives.ard import ARD
from robustkit.defenses.objectives.augmix import AugMixJSD
from robustkit.defenses.objectives.awp import AWP
from robustkit.defenses.objectives.fgsm_rs import FGSMRS
from robustkit.defenses.objectives.fgsm_training import FGSMTraining
from robustkit.defenses.objectives.free import Free
from robustkit.defenses.objectives.gradalign import GradAlign
from robustkit.defenses.objectives.ibp import IBP
from robustkit.defenses.objectives.mart import MART
from robustkit.defenses.objectives.n_fgsm import NFGSM
from robustkit.defenses.objectives.pgd_training import PGDTraining
from robustkit.defenses.objectives.rslad import RSLAD
from robustkit.defenses.objectives.standard import Standard
from robustkit.defenses.objectives.trades import TRADES
from robustkit.maths.norms import Norm

__all__ = [
    "ARD",
    "AWP",
    "FGSMRS",
    "IBP",
    "KNOWN",
    "MART",
    "NFGSM",
    "OBJECTIVES",
    "RSLAD",
    "TRADES",
    "AugMixJSD",
    "FGSMTraining",
    "Free",
    "GradAlign",
    "Minibatch",
    "Objective",
    "PGDTraining",
    "Standard",
    "create",
]

OBJECTIVES: dict[str, type[Objective]] = {item.name: item for item in [*globals().values()] if named(item, Objective)}


KNOWN: Registry[type[Objective]] = Registry(
    "objective",
    "robustkit.objectives",
    OBJECTIVES,
    expected="a subclass of robustkit.defenses.Objective with a name and a loss",
    fits=lambda value: named(value, Objective),
)


def create(spec: str, norm: Norm = "Linf", eps: Eps = "8/255", epochs: int | None = None) -> Objective:
    """Returns the objective that a text such as "trades:beta=6,steps=10" or "awp:gamma=0.005+trades" describes.

    Args:
        spec: A name, ours or a plug-in's, or the address of a class, `package.module:Class`; then optionally a colon
            and settings `name=value` parted by commas; settings of the inner PGD (steps, step_size, ...) too, which
            makes 10 steps otherwise. Wrappers stand in front, joined by "+"; what is not typed is as in their papers
            for what they wrap.
        norm: Norm of the threat model.
        eps: Its radius.
        epochs: Of the run; what a paper does in some of its epochs and is not typed becomes the same share of fewer.

    Raises:
        ConfigurationError: If an objective or a setting does not exist or a value is invalid.
    """
    instance("objective", "the text", spec, str)
    *wrappers, core = spec.split("+")
    wrapped = split(core, OBJECTIVES)[0]
    kinds = [KNOWN.find(split(wrapper, OBJECTIVES)[0]) for wrapper in wrappers]
    given: dict[str, Any] = {"norm": norm, "eps": eps}
    for kind in kinds:
        given |= kind.wrapped_settings.get(wrapped, {}) if issubclass(kind, Wrapper) else {}
    objective = _create(core, given)
    for wrapper, kind in reversed(list(zip(wrappers, kinds, strict=True))):
        own = kind.settings_around(wrapped, epochs) if issubclass(kind, Wrapper) else {}
        objective = _create(wrapper, {**own, "objective": objective})
    return objective


def _create(spec: str, given: dict[str, Any]) -> Objective:
    name, items = split(spec, OBJECTIVES)
    kind = KNOWN.find(name)
    if "objective" in given and not issubclass(kind, Wrapper):
        wrappers = ", ".join(k for k, v in OBJECTIVES.items() if issubclass(v, Wrapper))
        raise ConfigurationError(f"objective: expected a wrapper ({wrappers}) before '+', got {name!r}; reorder them")
    if issubclass(kind, Wrapper) and "objective" not in given:
        raise ConfigurationError(f"objective {name}: expected one to wrap, got none; write {name}+fgsm-rs, say")
    fields = {field.name for field in dataclasses.fields(kind)}
    of_attack = {field.name for field in dataclasses.fields(PGD)} if "attack" in fields else set()
    typed = read(f"objective {name}", items, (fields - {"attack", "objective"}) | of_attack)
    settings = {key: value for key, value in {**given, **typed}.items() if key in fields}
    if "attack" in fields:
        inner = {key: value for key, value in typed.items() if key not in fields}
        settings["attack"] = PGD(**{"steps": 10, **given, **inner})
    needed = [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory and f.name not in settings]
    if needed:
        raise ConfigurationError(
            f"objective {name}: expected {' and '.join(needed)}, which a text cannot hold; make it in Python: "
            f"fit(model, data, {kind.__name__}({', '.join(f'{item}=...' for item in needed)}))"
        )
    return kind(**settings)
