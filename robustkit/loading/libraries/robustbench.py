"""`robustbench:NAME`: an architecture of the RobustBench model zoo; its weights are a file, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.foreign_code import foreign
from robustkit.base.optional import package
from robustkit.loading.preprocessing import Preprocessing, lifted
from robustkit.model.small_models import initial_weights


def build(name: str, num_classes: int | None) -> nn.Module:
    """Returns the model with random weights; it takes inputs in 0..1 and normalises them itself."""
    entry = _entry(name)[1]
    with initial_weights(seed=0), foreign(f"robustbench:{name}"):
        model: nn.Module = entry["model"]()
    return model


def preset(name: str, weights: Path | None) -> Preprocessing | None:
    """Returns what the zoo does to pictures for this model, None where that is nothing."""
    steps = _entry(name)[1].get("preprocessing")
    if isinstance(steps, str):
        steps = _part("data", name).PREPROCESSINGS[steps]
    return lifted(steps, f"robustbench:{name}") if callable(steps) else None


def _entry(name: str) -> tuple[str, dict[str, Any]]:
    """Returns the one entry of that name, which may have data set and threat model in front: cifar10/Linf/NAME."""
    every = dict(_zoo(name))
    found = {path: entry for path, entry in every.items() if f"/{path}".endswith(f"/{name}")}
    if not found:
        known = {path.rpartition("/")[2] for path in every}
        raise ConfigurationError(f"model: expected a model of robustbench, got '{name}'{suggest(name, known)}")
    if len(found) > 1 and len({id(entry["model"]) for entry in found.values()}) > 1:
        raise ConfigurationError(
            f"model 'robustbench:{name}': expected one entry of that name, got {', '.join(found)}; name it in full"
        )
    return next(iter(found.items()))


def _zoo(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    models = _part("model_zoo.models", name)
    for data, threats in models.model_dicts.items():
        for threat, entries in threats.items():
            for key, entry in entries.items():
                yield "/".join(str(getattr(part, "value", part)) for part in (data, threat, key)), entry


def _part(module: str, name: str) -> Any:
    return package(
        f"robustbench.{module}", f"model 'robustbench:{name}'", "git+https://github.com/RobustBench/robustbench"
    )
