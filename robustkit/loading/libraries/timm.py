"""`timm:NAME`, or `timm:NAME.TAG` to say which of the published weights are meant."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn
from torchvision.models import ResNet18_Weights

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.optional import package
from robustkit.loading.preprocessing import Preprocessing, lifted
from robustkit.model.small_models import initial_weights


def build(name: str, num_classes: int | None) -> nn.Module:
    """Returns a model of timm with random weights, by default for as many classes as timm has for it."""
    timm = _timm_that_has(name)
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    with initial_weights(seed=0):
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
    return model


def preset(name: str, weights: Path | None) -> Preprocessing | None:
    """Returns timm's own transforms for the weights of that tag, without one for the default tag."""
    _timm_that_has(name)
    if weights is None and "." not in name:
        return None
    found = transform(name)
    if "." in name:
        return found
    differ = [tag for tag in _tags(name) if _differs(transform(tag), found)]
    if not differ:
        return found
    remark = (
        f"nothing says which published weights these are: the preset is that of {found.source}, and {len(differ)}"
        f" others differ; timm:{differ[0]} chooses"
    )
    return dataclasses.replace(found, remark=remark)


def transform(name: str) -> Preprocessing:
    """Returns what timm does to a picture for a model of that name."""
    _timm_that_has(name)
    data = package("timm.data", f"transform 'timm:{name}'")
    config = package("timm.models", f"transform 'timm:{name}'").get_pretrained_cfg(name).to_dict()
    settings = data.resolve_data_config(pretrained_cfg=config)
    source = f"timm:{config['architecture']}.{config['tag']}" if config.get("tag") else f"timm:{name}"
    classes = config.get("num_classes")
    found = lifted(data.create_transform(**settings), source)
    return dataclasses.replace(
        found,
        crop=tuple(settings["input_size"][1:]),
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        num_classes=classes,
        class_names=tuple(ResNet18_Weights.DEFAULT.meta["categories"]) if classes == 1000 else None,
    )


def _differs(one: Preprocessing, other: Preprocessing) -> bool:
    """Whether they do something else; the steps of timm's compositions say so in words."""
    told = [(p.mean, p.std, str(p.function)) for p in (one, other)]
    return told[0] != told[1]


def _tags(name: str) -> list[str]:
    return list(package("timm", f"model 'timm:{name}'").list_models(f"{name}.*", pretrained=True))


def _timm_that_has(name: str) -> Any:
    timm = package("timm", f"model 'timm:{name}'")
    architecture = name.partition(".")[0]
    if architecture not in (known := timm.list_models()):
        raise ConfigurationError(f"model: expected a model of timm, got '{architecture}'{suggest(architecture, known)}")
    if "." in name and name not in (tags := _tags(architecture)):
        raise ConfigurationError(f"model: expected a tag of timm's {architecture}, got '{name}'{suggest(name, tags)}")
    return timm
