"""Models by function, name or file."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustkit.base.errors import ConfigurationError, one_line, suggest
from robustkit.base.settings import flag, instance, integer, items, path
from robustkit.loading.composed import read_composition
from robustkit.loading.estimator import SUFFIXES, Estimator, read_estimator
from robustkit.loading.factories import MODELS, call_factory
from robustkit.loading.libraries import LIBRARIES, library_of
from robustkit.loading.model_file import read_model_file, refuse_foreign
from robustkit.model import small_models as models
from robustkit.model.checkpoint import read_checkpoint
from robustkit.model.weights import load_weights, sha256, weights_sha256

__all__ = ["load_model", "load_weights", "sha256", "weights_sha256"]


def load_model(
    spec: str | Path,
    weights: str | Path | None = None,
    input_shape: tuple[int, ...] | None = None,
    num_classes: int | None = None,
    trust_checkpoint: bool = False,
    weights_key: str | None = None,
) -> nn.Module:
    """Returns the model that `spec` names, on the CPU except where a factory decides otherwise.

    The global random state is left as it was, again except by a factory. A model file carries a program, not
    only numbers, and merely reading it can run any code (torch.export falls back to plain pickle, TorchScript
    can open files while it loads), so each kind of model file needs `trust_checkpoint`. Weight files do not.

    Args:
        spec: `package.module:factory`, found from the current directory too, or the name of a plug-in; arguments may
            follow, as in `package.module:factory:depth=16`; it returns a module, a function of a batch, or a fitted
            classifier with `predict_proba`; a .joblib or .pkl file with one;
            `torchvision:NAME` and, where these are installed, `timm:NAME`, `robustbench:NAME` and `hf:FOLDER`; a name
            in `robustkit.model.small_models`; a `.json` file of `robustkit.loading.composed`; an `.onnx` file; or one
            made by torch.jit.save, torch.export.save or torch.save(module), told apart by content.
        weights: A file for `load_weights`; what it changed, `robustkit.model.weights.note_of` tells.
        input_shape: Shape of one sample, for the small models and for lazy layers.
        num_classes: Number of classes, for the small models and those of a library; there by default as many as the
            weights have, without weights as many as the library has.
        trust_checkpoint: Read files that can run code.
        weights_key: Where in that file the weights lie, needed only where several sets of them differ.

    Raises:
        ConfigurationError: If the model cannot be found, built or read, or the weights do not fit it.
    """
    who = f"model '{path('model', 'the name', spec)}'"
    flag(who, "trust_checkpoint", trust_checkpoint)
    instance(who, "weights_key", weights_key, str, NoneType)
    num_classes = None if num_classes is None else integer(who, "num_classes", num_classes, 2)
    if input_shape is not None:
        input_shape = tuple(
            integer(who, "every size of input_shape", n) for n in items(who, "input_shape", input_shape)
        )
    name = str(spec)
    if models.is_small(name):
        if input_shape is None or num_classes is None:
            raise ConfigurationError(f"model '{name}': expected input_shape and num_classes, got none; give both")
        model: Any = models.create(name, input_shape, num_classes)
    elif (found := library_of(name)) is not None:
        library, short = found
        model = library.build(short, num_classes)
        if num_classes is None and weights is not None:
            outputs = _outputs(model, Path(weights), trust_checkpoint)
            model = library.build(short, outputs) if outputs else model
    elif Path(spec).suffix == ".json" and Path(spec).is_file():
        model = read_composition(Path(spec), load_model, trust_checkpoint)
    elif Path(spec).suffix in SUFFIXES and Path(spec).is_file():
        model = read_estimator(Path(spec), trust_checkpoint)
    elif Path(spec).is_file():
        model = read_model_file(Path(spec), trust_checkpoint)
    elif ":" in name or MODELS.offers(name):
        model = call_factory(name, MODELS)
    else:
        refuse_foreign(Path(spec))
        libraries = ", ".join(f"{library}:NAME" for library in LIBRARIES)
        raise ConfigurationError(
            f"model: expected package.module:factory, {libraries}, an existing file or a known name,"
            f" got {name!r}{suggest(name, MODELS.names())}"
        )
    if callable(getattr(model, "predict_proba", None)) and not isinstance(model, nn.Module):
        model = Estimator(model)
    if inspect.isroutine(model):
        model = FunctionModel(model)
    if not isinstance(model, nn.Module):
        raise ConfigurationError(f"model '{name}': expected a torch.nn.Module, got {type(model).__name__}")
    _materialise(model, name, input_shape)
    if weights is not None:
        load_weights(model, weights, trust_checkpoint, weights_key)
    return model


def loads_only(spec: str) -> bool:
    """Returns whether `load_model` takes `spec` for one of our names, a library's or a file, and calls no function."""
    return models.is_small(spec) or library_of(spec) is not None or Path(spec).is_file()


def is_known(spec: str) -> bool:
    """Returns whether `load_model` takes `spec` for a plain name, ours or a library's, and opens and calls nothing."""
    prefix, colon, name = spec.partition(":")
    plain = prefix in ("torchvision", "timm", "robustbench") and re.fullmatch(r"[\w.@-]+", name) is not None
    return models.is_small(spec) or (bool(colon) and plain)


class FunctionModel(nn.Module):
    """A function from a batch to an output, as a module without weights."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        """Returns what the function returns."""
        return self.function(x)


def count_outputs(model: nn.Module) -> int:
    """Returns the size of the last tensor of a model, which in classifiers of the libraries is one entry a class."""
    return len([*model.state_dict().values()][-1])


def _outputs(model: nn.Module, weights: Path, trusted: bool) -> int | None:
    """Returns how many outputs the weights in a file have, where that is not what the model has."""
    last, held = [*model.state_dict().items()][-1]
    found = [value for name, value in _tensors_in(read_checkpoint(weights, trusted)) if name.endswith(last)]
    sizes = {len(value) for value in found if value.ndim == held.ndim}
    return sizes.pop() if len(sizes) == 1 and sizes != {len(held)} else None


def _tensors_in(content: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields every tensor with its name, however deep it lies in the dicts of a checkpoint."""
    if isinstance(content, nn.Module):
        content = content.state_dict()
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, Tensor):
            yield str(name), value
        else:
            yield from _tensors_in(value)


def _materialise(model: nn.Module, name: str, input_shape: tuple[int, ...] | None) -> None:
    """Gives lazy layers their parameters by a pass over two blank inputs."""
    if not any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        return
    if input_shape is None:
        raise ConfigurationError(
            f"model '{name}': expected input_shape for its lazy layers, got none; give it, or pass one batch through"
            " the model in the factory"
        )
    training = model.training
    try:
        with torch.no_grad(), models.initial_weights(seed=0):
            model.eval()(torch.zeros(2, *input_shape, device="cpu"))
    except Exception as error:
        raise ConfigurationError(
            f"model '{name}': expected lazy layers that take inputs {input_shape}, got {one_line(error)}; pass one"
            " batch through the model in the factory"
        ) from error
    model.train(training)
