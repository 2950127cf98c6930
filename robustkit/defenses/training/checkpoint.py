"""The state of a run in one safetensors file: tensors by name, everything else as JSON in its header, and a hash.

What goes into it is said in `state.py`, where it lies and how a run resumes from it in `run_folder.py`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from robustkit.base.errors import ConfigurationError
from robustkit.base.foreign_file import parsing
from robustkit.base.write_file import write_atomically

Tensors = dict[str, Tensor]
Facts = dict[str, Any]
_LOST = "delete it, or choose another folder"


def write(path: Path, tensors: Tensors, facts: Facts) -> None:
    """Writes a checkpoint; a process killed meanwhile leaves the old one whole."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Tied weights lie in the same memory, which safetensors refuses.
    separate = {name: tensor.clone() for name, tensor in plain.items()}
    text = json.dumps(facts)
    write_atomically(path, save(separate, {"robustkit": text, "sha256": _sha256(separate, text)}))


def read(path: Path) -> tuple[Tensors, Facts]:
    """Returns tensors, on the CPU, and facts of a checkpoint. One without a hash is of an earlier version, and read.

    Raises:
        ConfigurationError: If there is none, it cannot be read, or it is not as it was written.
    """
    if not path.is_file():
        raise ConfigurationError(
            f"checkpoint '{path}': expected a file to resume from, found none; train without resume"
        )
    with parsing(f"checkpoint '{path}'", "one of robustkit's", _LOST):
        with safe_open(path, "pt") as file:
            text, digest, others = _header(**(file.metadata() or {}))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if others or digest not in (None, _sha256(tensors, text)):
            raise ConfigurationError(
                f"checkpoint '{path}': expected the content it was written with, got another; {_LOST}"
            )
        return tensors, json.loads(text)


def _header(robustkit: str, sha256: str | None = None, **others: str) -> tuple[str, str | None, dict[str, str]]:
    """Returns the facts as text, the hash if there is one, and what does not belong there."""
    return robustkit, sha256, others


def _sha256(tensors: Tensors, text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def module_tensors(module: nn.Module, prefix: str) -> Tensors:
    """Returns the state dict with a prefix to every name."""
    state = module.state_dict()
    return {f"{prefix}.{name}": value for name, value in state.items() if isinstance(value, Tensor)}


def load_module(module: nn.Module, tensors: Tensors, prefix: str) -> None:
    """Fills a module from what `module_tensors` returned."""
    module.load_state_dict(under(tensors, prefix))


def under(tensors: Tensors, prefix: str) -> Tensors:
    """Returns the tensors whose names begin with `prefix` and a dot, without them."""
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def optimizer_state(optimizer: Optimizer) -> tuple[Tensors, Facts]:
    """Returns the tensors of an optimiser by name and the rest of its state, JSON-ready."""
    state = optimizer.state_dict()
    tensors: Tensors = {}
    rest: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        rest[str(index)] = {name: value for name, value in entries.items() if not isinstance(value, Tensor)}
        tensors |= {f"optimizer.{index}.{name}": t for name, t in entries.items() if isinstance(t, Tensor)}
    return tensors, {"state": rest, "param_groups": state["param_groups"]}


def load_optimizer(optimizer: Optimizer, tensors: Tensors, facts: Facts) -> None:
    """Fills an optimiser from what `optimizer_state` returned."""
    state: dict[int, dict[str, Any]] = {int(index): dict(entries) for index, entries in facts["state"].items()}
    for name, tensor in under(tensors, "optimizer").items():
        index, _, entry = name.partition(".")
        state[int(index)][entry] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": facts["param_groups"]})


def schedule_state(schedule: LRScheduler) -> Facts:
    """Returns what moves in a schedule: its numbers and lists of numbers; the rest comes from the recipe."""
    return {name: value for name, value in schedule.state_dict().items() if _moves(value)}


def _moves(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, list) and all(isinstance(v, float) for v in value))
