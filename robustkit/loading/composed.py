"""Models put together from others, as a small JSON file that can be loaded wherever a model is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.foreign_file import parsing
from robustkit.base.write_file import write_atomically
from robustkit.defenses.calibrators import CALIBRATORS
from robustkit.defenses.ensemble import Ensemble
from robustkit.defenses.logits import Logits
from robustkit.defenses.preprocess import PREPROCESSORS
from robustkit.defenses.smoothing import Smoothed
from robustkit.loading.factories import MODELS
from robustkit.loading.libraries import library_of
from robustkit.model.classifier import Classifier
from robustkit.model.output import Output
from robustkit.model.small_models import is_small
from robustkit.model.weights import sha256


class Part(BaseModel):
    """One model in a composition: what `load_model` needs, and how its input is scaled.

    Paths are relative to the folder of the file. `sha256` is the hash of the weight file, checked when it is loaded: a
    temperature is worth nothing for other weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    weights: str | None = None
    weights_key: str | None = None
    sha256: str | None = None
    input_shape: tuple[int, ...] | None = None
    num_classes: int | None = None
    bounds: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    output: Output = "auto"
    select: str | int | None = None


class Composition(BaseModel):
    """What is made of which parts: a key of `KINDS`, its settings, and one part (several for an ensemble)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    settings: dict[str, Any] = {}
    parts: tuple[Part, ...]


def _preprocessed(kind: type[nn.Module]) -> Callable[..., nn.Module]:
    return lambda model, **settings: nn.Sequential(kind(**settings), Logits(model))


KINDS: dict[str, Callable[..., nn.Module]] = {
    "ensemble": Ensemble,
    "smoothed": Smoothed,
    **CALIBRATORS,
    **{name: _preprocessed(kind) for name, kind in PREPROCESSORS.items()},
}


def compose(kind: str, settings: dict[str, Any], parts: Sequence[Classifier]) -> nn.Module:
    """Returns the model that `kind` makes of its parts.

    Raises:
        ConfigurationError: If the kind, its settings or the number of parts is invalid.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"composition: expected a known kind, got {kind!r}{suggest(kind, KINDS)}")
    if kind != "ensemble" and len(parts) != 1:
        raise ConfigurationError(f"composition: expected one part for {kind}, got {len(parts)}; keep one")
    try:
        return KINDS[kind](list(parts) if kind == "ensemble" else parts[0], **settings)
    except TypeError as error:
        raise ConfigurationError(f"composition: expected settings that {kind} has, got {error}; correct it") from None


def write_composition(path: Path, composition: Composition) -> Path:
    """Writes the file whole or not at all; paths in its parts are taken from the current directory and made relative.

    Raises:
        ConfigurationError: If a weight file or the place for the file cannot be used.
    """
    folder = path.resolve().parent

    def relative(name: str) -> str:
        return os.path.relpath(Path(name).resolve(), folder) if Path(name).is_file() else name

    parts = [
        part.model_copy(
            update={
                "model": relative(part.model),
                "weights": part.weights and relative(part.weights),
                "sha256": part.weights and sha256(part.weights),
            }
        )
        for part in composition.parts
    ]
    content = composition.model_copy(update={"parts": tuple(parts)})
    return write_atomically(path, content.model_dump_json(indent=2, exclude_defaults=True) + "\n")


def read_composition(path: Path, load: Callable[..., nn.Module], trusted: bool) -> nn.Module:
    """Returns the model that a composition file describes, in eval mode.

    Args:
        path: The file.
        load: What loads a part: `load_model`.
        trusted: Also call the functions that the file names; a file from elsewhere could name any.

    Raises:
        ConfigurationError: If the file or one of its parts cannot be used.
    """
    try:
        composition = Composition.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigurationError(
            f"composition '{path}': expected kind, settings and parts, got a fault in {where} ({first['msg']}); correct"
            " it"
        ) from None
    with parsing(f"composition '{path}'", "parts and settings that fit", "correct it"):
        parts = [_part(path, part, load, trusted) for part in composition.parts]
        return compose(composition.kind, composition.settings, parts).eval()


def _part(path: Path, part: Part, load: Callable[..., nn.Module], trusted: bool) -> Classifier:
    named = path.parent / part.model
    if named.is_file() and named.resolve() == path.resolve():
        raise ConfigurationError(f"composition '{path}': expected other models as parts, got itself; correct it")
    harmless = named.is_file() or is_small(part.model) or library_of(part.model) is not None
    if not harmless and not trusted and (":" in part.model or MODELS.offers(part.model)):
        raise ConfigurationError(
            f"composition '{path}': expected a trusted file, got one that calls '{part.model}'; --trust-checkpoint"
            " would call it: use it only if you trust who made the file"
        )
    weights = path.parent / part.weights if part.weights else None
    if weights and part.sha256 and sha256(weights) != part.sha256:
        raise ConfigurationError(
            f"composition '{path}': expected the weights it was made with, got another '{part.weights}'; make it again"
        )
    spec = str(named) if named.is_file() else part.model
    module = load(spec, weights, part.input_shape, part.num_classes, trusted, part.weights_key)
    return Classifier(
        module,
        bounds=part.bounds,
        mean=part.mean,
        std=part.std,
        output=part.output,
        select=part.select,
        num_classes=part.num_classes,
    )
