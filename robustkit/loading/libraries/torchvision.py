"""`torchvision:NAME`, or `torchvision:NAME@WEIGHTS` to say which of the published weights are meant."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn
from torchvision import models

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.loading.preprocessing import Preprocessing, of_torchvision
from robustkit.model.small_models import initial_weights
from robustkit.model.weights import sha256

# Their published weights expect this; they are also the two that warn unless init_weights is spelled out.
TRANSFORM_INPUT = ("googlenet", "inception_v3")


def build(name: str, num_classes: int | None) -> nn.Module:
    """Returns a classifier of torchvision with random weights, by default for 1000 classes."""
    name = _known(name)
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if name in TRANSFORM_INPUT:
        options |= {"init_weights": True, "transform_input": num_classes in (None, 1000)}
    with initial_weights(seed=0):
        model: nn.Module = models.get_model(name, weights=None, **options)
    return model


def preset(name: str, weights: Path | None) -> Preprocessing | None:
    """Returns the transforms of the weights that are named, else of those the file is, else of the default ones."""
    architecture, _, member = name.partition("@")
    if not member and weights is None:
        return None
    published = [*models.get_model_weights(_known(name))]
    if member:
        return _of(named(f"{models.get_model_weights(architecture).__name__}.{member}"))
    digest = sha256(weights) if weights else ""
    same = [item for item in published if digest.startswith(_digest(item))]
    if same or not published:
        return _of(same[0]) if same else None
    default = models.get_model_weights(architecture).DEFAULT
    found = _of(default)
    others = [item.name for item in published if _differs(_of(item), found)]
    if not others:
        return found
    remark = (
        f"nothing says which published weights these are: the preset is that of {default.name}, and {', '.join(others)}"
        f" differ; torchvision:{architecture}@{others[0]} chooses"
    )
    return dataclasses.replace(found, remark=remark)


def named(weights: str) -> Any:
    """Returns published weights by a name such as `ResNet18_Weights.DEFAULT`.

    Raises:
        ConfigurationError: If there are none.
    """
    try:
        return models.get_weight(weights)
    except (ValueError, AttributeError, KeyError):
        enum, _, member = weights.partition(".")
        enums = {e.__name__: e for e in map(models.get_model_weights, _classifiers())}
        if enum in enums:
            known = [*enums[enum].__members__, "DEFAULT"]
            raise ConfigurationError(
                f"torchvision: expected weights of {enum}, got '{member}'{suggest(member, known)}"
            ) from None
        raise ConfigurationError(
            f"torchvision: expected published weights such as ResNet18_Weights.DEFAULT, got '{weights}'"
            f"{suggest(enum, enums)}"
        ) from None


def transform(weights: str) -> Preprocessing:
    """Returns the transforms of published weights by a name such as `ResNet18_Weights.DEFAULT`."""
    return _of(named(weights))


def _of(weights: Any) -> Preprocessing:
    names = weights.meta.get("categories")
    return dataclasses.replace(
        of_torchvision(weights.transforms(), f"torchvision:{weights}"),
        class_names=tuple(names) if names else None,
        num_classes=len(names) if names else None,
    )


def _differs(one: Preprocessing, other: Preprocessing) -> bool:
    return dataclasses.replace(one, source=other.source) != other


def _digest(weights: Any) -> str:
    """Returns the beginning of the SHA-256 of the published file, which its name ends with."""
    digest = Path(weights.url).stem.rpartition("-")[2]
    return digest if len(digest) == 8 else "unknown"


def _classifiers() -> list[str]:
    return list(models.list_models(module=models))


def _known(name: str) -> str:
    architecture = name.partition("@")[0]
    if architecture not in (known := _classifiers()):
        hint = suggest(architecture, known)
        raise ConfigurationError(f"model: expected a torchvision classifier, got '{architecture}'{hint}")
    return architecture
