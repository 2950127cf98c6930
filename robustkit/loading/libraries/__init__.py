"""Models of other packages by name, such as `timm:resnet18`: how each is built, and the preset its weights bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, cast

from torch import nn

from robustkit.loading.libraries import huggingface, robustbench, timm, torchvision
from robustkit.loading.preprocessing import Preprocessing


class Library(Protocol):
    """A package with models by name."""

    def build(self, name: str, num_classes: int | None) -> nn.Module:
        """Returns the model; its weights are random except where they are part of what `name` names."""

    def preset(self, name: str, weights: Path | None) -> Preprocessing | None:
        """Returns what published weights of that name expect, None for random ones or where nobody knows."""


LIBRARIES: dict[str, Any] = {
    "torchvision": torchvision,
    "timm": timm,
    "robustbench": robustbench,
    "hf": huggingface,
}


def library_of(spec: str) -> tuple[Library, str] | None:
    """Returns the library that `spec` names and the name within it, None for other models."""
    prefix, colon, name = spec.partition(":")
    return (cast(Library, LIBRARIES[prefix]), name) if colon and prefix in LIBRARIES else None


def preset_of(spec: str | Path, weights: str | Path | None = None) -> Preprocessing | None:
    """Returns the preprocessing that a model brings by itself, None where it has none.

    A preset belongs to weights: a library's architecture without a file of weights has none, unless its name says which
    weights are meant (`torchvision:resnet50@IMAGENET1K_V1`, `timm:resnet50.a1_in1k`). A folder saved by Hugging Face
    always has its own.

    Args:
        spec: As for `load_model`.
        weights: The file of weights.

    Raises:
        ConfigurationError: If the name is unknown or the package is not installed.
    """
    found = library_of(str(spec))
    return found[0].preset(found[1], Path(weights) if weights else None) if found else None
