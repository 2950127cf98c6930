"""Models by function, name or file."""

from __future__ import annotations

import importlib
import inspect
import logging
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from robustkit.base.errors import ConfigurationError, one_line, suggest
from robustkit.loading.composed import read_composition
from robustkit.loading.factories import MODELS, call_factory
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
            follow, as in `package.module:factory:depth=16`; it returns a module or a function of a batch;
            `torchvision:NAME` or, where timm is installed, `timm:NAME`; a name in `robustkit.model.small_models`; a
            `.json` file of `robustkit.loading.composed`; or a file made by torch.jit.save, torch.export.save or
            torch.save(module), told apart by content.
        weights: A file for `load_weights`; what it changed, `robustkit.model.weights.note_of` tells.
        input_shape: Shape of one sample, for the small models.
        num_classes: Number of classes, for the small models and torchvision's (there, by default 1000).
        trust_checkpoint: Read files that can run code.
        weights_key: Where in that file the weights lie, needed only where several sets of them differ.

    Raises:
        ConfigurationError: If the model cannot be found, built or read, or the weights do not fit it.
    """
    name = str(spec)
    if models.is_small(name):
        if input_shape is None or num_classes is None:
            raise ConfigurationError(f"model '{name}': expected input_shape and num_classes, got none; give both")
        model: Any = models.create(name, input_shape, num_classes)
    elif name.startswith("torchvision:"):
        model = _torchvision_model(name.removeprefix("torchvision:"), num_classes)
    elif name.startswith("timm:"):
        model = _timm_model(name.removeprefix("timm:"), num_classes)
    elif Path(spec).suffix == ".json" and Path(spec).is_file():
        model = read_composition(Path(spec), load_model, trust_checkpoint)
    elif Path(spec).is_file():
        model = _model_file(Path(spec), trust_checkpoint)
    elif ":" in name or MODELS.offers(name):
        model = call_factory(name, MODELS)
    else:
        raise ConfigurationError(
            f"model: expected package.module:factory, torchvision:NAME, timm:NAME, an existing file or a known name,"
            f" got '{name}'{suggest(name, MODELS.names())}"
        )
    if inspect.isroutine(model):
        model = FunctionModel(model)
    if not isinstance(model, nn.Module):
        raise ConfigurationError(f"model '{name}': expected a torch.nn.Module, got {type(model).__name__}")
    if weights is not None:
        load_weights(model, weights, trust_checkpoint, weights_key)
    return model


def loads_only(spec: str) -> bool:
    """Returns whether `load_model` takes `spec` for one of our names, a library's or a file, and calls no function."""
    return models.is_small(spec) or spec.startswith(("torchvision:", "timm:")) or Path(spec).is_file()


class FunctionModel(nn.Module):
    """A function from a batch to an output, as a module without weights."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        """Returns what the function returns."""
        return self.function(x)


def _torchvision_model(name: str, num_classes: int | None) -> nn.Module:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ConfigurationError(f"model: expected a torchvision classifier, got '{name}'{suggest(name, known)}")
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = True  # Their default, which they warn about unless it is spelled out.
    with models.initial_weights(seed=0):
        model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return model


def _timm_model(name: str, num_classes: int | None) -> nn.Module:
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        raise ConfigurationError(f"model 'timm:{name}': expected timm to be installed; pip install timm") from None
    if name not in (known := timm.list_models()):
        raise ConfigurationError(f"model: expected a model of timm, got '{name}'{suggest(name, known)}")
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    with models.initial_weights(seed=0):
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
    return model


def _model_file(path: Path, trusted: bool) -> Any:
    program = _program_reader(path)
    if program is None:
        content = read_checkpoint(path, trusted)
        if isinstance(content, nn.Module):
            return content
        raise ConfigurationError(
            f"model '{path}': expected a model, got {type(content).__name__}, perhaps weights; name"
            " the architecture as the model and give this file as its weights"
        )
    kind, read = program
    if not trusted:
        raise ConfigurationError(
            f"model '{path}': expected a trusted file, got a {kind} program; reading it can run any"
            " code, and --trust-checkpoint would run the file's code: use it only if you trust who made the file"
        )
    try:
        return read(path)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"model '{path}': expected a {kind} program, got a file that cannot be read"
            f" ({one_line(error)}); save it again with this version of torch"
        ) from error


def _program_reader(path: Path) -> tuple[str, Callable[[Path], nn.Module]] | None:
    """Tells by the entries of the archive; None for anything but TorchScript and torch.export."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {name.rpartition("/")[2] for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return None
    if "constants.pkl" in entries:
        return "TorchScript", _read_torchscript
    if entries & {"archive_format", "serialized_exported_program.json"}:
        return "torch.export", _read_exported
    return None


def _read_torchscript(path: Path) -> nn.Module:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is deprecated")
        module: nn.Module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    return module


def _read_exported(path: Path) -> nn.Module:
    # torch.export logs a traceback before it raises the same error.
    log = logging.getLogger("torch.export")
    log.addFilter(_nothing)
    try:
        with path.open("rb") as file:
            program = torch.export.load(file)
    finally:
        log.removeFilter(_nothing)
    inputs = [n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs]
    rows = inputs[0].meta["val"].shape[0]
    if isinstance(rows, int):
        raise ConfigurationError(
            f"model '{path}': expected any number of samples, got a program for exactly {rows}; export it"
            " with dynamic_shapes=({0: torch.export.Dim('batch')},)"
        )
    module = program.module()
    # torch puts a train and an eval on the instance that only raise; the mode was fixed when it was exported,
    # so the ordinary ones, which set a flag nobody reads, are right.
    for name in ("train", "eval"):
        vars(module).pop(name, None)
    return module


def _nothing(_: logging.LogRecord) -> bool:
    return False
