"""Files that hold a whole model: TorchScript, torch.export, a pickled module, ONNX."""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.base.foreign_file import parsing
from robustkit.base.optional import package
from robustkit.model.checkpoint import read_checkpoint

FOREIGN = {
    ".keras": "Keras", ".h5": "Keras", ".hdf5": "Keras", ".tflite": "TensorFlow Lite", ".pb": "TensorFlow",
    ".mlmodel": "Core ML", ".mlpackage": "Core ML", ".engine": "TensorRT", ".plan": "TensorRT",
    ".pdparams": "Paddle", ".pdmodel": "Paddle", ".gguf": "GGUF", ".pbtxt": "TensorFlow", ".mar": "TorchServe",
    ".ptl": "PyTorch Mobile", ".safetensors": "weights alone", ".npz": "arrays",
}  # fmt: skip


def read_model_file(path: Path, trusted: bool) -> Any:
    """Returns the model that a file holds, told apart by content, except that ONNX goes by its suffix.

    Raises:
        ConfigurationError: If it is no model, cannot be read, or could run code and is not trusted.
    """
    if path.suffix == ".onnx":
        return _read_onnx(path)
    refuse_foreign(path)
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

    unreadable = "a file that cannot be read"
    with parsing(f"model '{path}'", f"a {kind} program", "save it again with this version of torch", unreadable):
        return read(path)


def refuse_foreign(path: Path) -> None:
    """Raises ConfigurationError for what another framework wrote, by its suffix or the files in a folder."""
    kind = FOREIGN.get(path.suffix.lower())
    if (path / "saved_model.pb").is_file():
        kind = "TensorFlow"
    if kind == "weights alone":
        raise ConfigurationError(
            f"model '{path}': expected a model, got a file of weights; name the architecture as the model and give this"
            " file as its weights"
        )
    if kind:
        raise ConfigurationError(
            f"model '{path}': expected a PyTorch model, got one of {kind}; convert it to ONNX or write"
            " package.module:factory that calls it"
        )
    if (path / "config.json").is_file():
        raise ConfigurationError(
            f"model '{path}': expected a model, got a folder; for Hugging Face's write 'hf:{path}'"
        )


def _read_onnx(path: Path) -> nn.Module:
    onnx = package("onnx", f"model '{path}'", "onnx onnx2torch")
    onnx2torch = package("onnx2torch", f"model '{path}'", "onnx onnx2torch")
    try:
        graph = onnx.load(str(path))
        constants = {tensor.name for tensor in graph.graph.initializer}
        rows = next(v for v in graph.graph.input if v.name not in constants).type.tensor_type.shape.dim[0].dim_value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: nn.Module = onnx2torch.convert(graph).eval()
    except Exception as error:
        raise ConfigurationError(
            f"model '{path}': expected an ONNX model that onnx2torch can convert, got {one_line(error)}; export it"
            " again"
        ) from error
    if rows:
        raise ConfigurationError(
            f"model '{path}': expected any number of samples, got an ONNX model for exactly {rows}; export it with a"
            " dynamic first axis"
        )
    return model


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
