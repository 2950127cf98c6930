"""What `--transform` names, as a `Preprocessing`."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.registry import current_directory_first, is_address, load, raised
from robustkit.base.settings import read, split
from robustkit.loading.libraries import huggingface, timm, torchvision
from robustkit.loading.preprocessing import Preprocessing, Size, lifted

SETTINGS = ("resize", "crop", "interpolation", "mean", "std")
LIBRARIES = {"torchvision": torchvision.transform, "timm": timm.transform, "hf": huggingface.transform}


def read_transform(spec: str) -> Preprocessing:
    """Returns the preprocessing that `spec` names.

    Args:
        spec: `torchvision:ResNet18_Weights.DEFAULT`, `timm:NAME`, `hf:FOLDER` (all the library's own, mean and std
            included), `resize=256,crop=224,interpolation=bicubic` with `mean=` and `std=` if needed (a size is the
            shorter side, or HxW), or `package.module:factory`, which is or returns a function from a PIL image to a
            tensor in 0..1; a Normalize at the end of a composition becomes mean and std.

    Raises:
        ConfigurationError: If it names nothing, or cannot be used.
    """
    prefix, colon, name = spec.partition(":")
    if colon and prefix in LIBRARIES:
        return LIBRARIES[prefix](name)
    if is_address(split(spec)[0]):
        return _called(spec)
    if "=" in spec:
        return _spelled(spec)
    raise ConfigurationError(
        "transform: expected torchvision:WEIGHTS, timm:NAME, hf:FOLDER, package.module:factory or"
        f" resize=256,crop=224,interpolation=bicubic, got '{spec}'; correct it"
    )


def names_only(spec: str) -> bool:
    """Returns whether `spec` names numbers or a library's transform, and calls no function of a user."""
    return not is_address(split(spec)[0]) or spec.partition(":")[0] in LIBRARIES


def _spelled(spec: str) -> Preprocessing:
    values: dict[str, list[str]] = {}
    name = ""
    for item in spec.split(","):
        word, equals, value = (part.strip() for part in item.partition("="))
        if not equals and name in ("mean", "std"):
            values[name].append(word)
            continue
        name = word
        if not equals or name not in SETTINGS or name in values:
            known = [setting for setting in SETTINGS if setting not in values]
            raise ConfigurationError(f"transform: expected settings name=value, got '{item}'{suggest(name, known)}")
        values[name] = [value]
    given: dict[str, Any] = {name: _size(name, *values[name]) for name in ("resize", "crop") if name in values}
    given |= {name: tuple(_number(name, text) for text in values[name]) for name in ("mean", "std") if name in values}
    if "interpolation" in values:
        given["interpolation"] = values["interpolation"][0].lower()
    return Preprocessing(**given)


def _size(name: str, text: str) -> Size:
    found = re.fullmatch(r"([1-9]\d{0,5})(?:x([1-9]\d{0,5}))?", text)
    if found is None:
        raise ConfigurationError(f"transform: expected {name}=PIXELS or {name}=HEIGHTxWIDTH, got '{text}'; correct it")
    return (int(found[1]), int(found[2])) if found[2] else int(found[1])


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"transform: expected numbers for {name}, got '{text}'; correct it") from None


def _called(spec: str) -> Preprocessing:
    name, items = split(spec)
    made = load(name, "transform")
    if inspect.isroutine(made) or inspect.isclass(made):
        needed = [
            p for p in inspect.signature(made).parameters.values() if p.default is p.empty and p.kind < p.VAR_POSITIONAL
        ]
        if items or not needed or inspect.isclass(made):
            arguments = read(f"transform '{name}'", items, None)
            with current_directory_first():
                try:
                    made = made(**arguments)
                except (Exception, SystemExit) as error:
                    raise raised("transform", spec, "the factory", error) from error
    if isinstance(made, Preprocessing):
        return made
    if not callable(made):
        raise ConfigurationError(
            f"transform '{spec}': expected a function from a PIL image to a tensor in 0..1, got"
            f" {type(made).__name__}; correct it"
        )
    return dataclasses.replace(lifted(made, spec), source=spec)
