"""Weights of a file put into a module, name by name, and the fingerprints of both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.base.settings import flag, instance
from robustkit.base.settings import path as known_path
from robustkit.model.checkpoint import read_checkpoint
from robustkit.model.plain_tensor import plain
from robustkit.model.weight_match import Match
from robustkit.model.weight_sets import WeightSet, below, prefixes, sets_in

_NOTES: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


def load_weights(module: nn.Module, path: str | Path, trust_checkpoint: bool = False, key: str | None = None) -> str:
    """Fills every parameter and buffer of `module` from a file, or raises and leaves `module` untouched.

    What torch's strict `load_state_dict` accepts is accepted. The weights may lie under any key of the file. Prefixes
    that wrappers add to the names, and one that all names share, are taken off where the bare names are expected;
    bookkeeping such as `n_averaged` is passed over.

    Args:
        module: Its own names, shapes and dtypes decide what is expected.
        path: A safetensors file, a torch checkpoint or an .npz of arrays, told apart by content.
        trust_checkpoint: Unpickle the checkpoint in full, which runs whatever code it carries.
        key: Where in the file the weights lie, such as "state_dict_ema", or "state_dict.net" for the names in it that
            begin with "net."; needed where several sets of weights fit and differ.

    Returns:
        What was changed about names and numbers, or ""; `note_of(module)` returns it again.

    Raises:
        ConfigurationError: If the file cannot be read as plain tensors, its names or shapes are not exactly those of
            `module`, or several sets of weights fit.
    """
    path = known_path("load_weights", "path", path)
    flag("load_weights", "trust_checkpoint", trust_checkpoint)
    instance("load_weights", "key", key, str, NoneType)
    instance("load_weights", "module", module, nn.Module)
    others = [name for name, value in module.state_dict().items() if not isinstance(value, Tensor)]
    sets = sets_in(read_checkpoint(path, trust_checkpoint), others, path)
    matches = [Match(module, one, path) for one in below(sets, key, path)]
    fitting = [match for match in matches if not match.problems]
    if not fitting:
        raise _misfit(min(matches, key=lambda match: match.distance), sets)
    first, *more = fitting
    if differing := [first.key, *(match.key for match in more if not match.same_as(first))][1:]:
        keys = " or ".join((first.key, *differing))
        raise ConfigurationError(
            f"weights '{path}': expected one set of weights, got {len(differing) + 1} that differ; choose with"
            f" --weights-key {keys} (in Python key=)"
        )
    first.load()
    _NOTES[module] = "; ".join(first.notes)
    return _NOTES[module]


def note_of(module: nn.Module) -> str:
    """Returns what `load_weights` changed when it filled the module and its parts, or ""."""
    return "; ".join(filter(None, (_NOTES.get(part, "") for part in module.modules())))


def _misfit(match: Match, sets: Sequence[WeightSet]) -> ConfigurationError:
    """Returns the error about the nearest set, with the parts of the file that would fit."""
    keys = [
        ".".join(filter(None, (one.key, start[:-1])))
        for one in sets
        for start in prefixes([*one.values])
        if {name.removeprefix(start) for name in one.values if name.startswith(start)} == match.expected.keys()
    ]
    kind, count = type(match.module).__name__, len(match.expected)
    where = f" under '{match.key}'" if match.key and len(sets) > 1 else ""
    fix = f"choose a part with --weights-key {' or '.join(keys)}" if keys else "use the architecture that was saved"
    got = "; ".join(match.problems)
    return ConfigurationError(
        f"weights '{match.path}': expected exactly the {count} tensors of {kind}, got{where} {got}; {fix}"
    )


def sha256(path: str | Path) -> str:
    """Returns the SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        ConfigurationError: If the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ConfigurationError(
            f"file '{path}': expected a readable file, got {one_line(error)}; check the path"
        ) from error
    return digest.hexdigest()


def weights_sha256(module: nn.Module) -> str:
    """Returns the SHA-256 over all tensors of the state dict: name, dtype, shape and bytes, sorted by name.

    The same weights give the same value on every device, in every memory layout, from every file format. Quantised
    weights, which may come packed in tuples, count by the numbers they stand for.
    """
    digest = hashlib.sha256()
    for name, held in sorted(module.state_dict().items()):
        for value in held if isinstance(held, tuple) else (held,):
            if not isinstance(value, Tensor):
                continue
            value = plain(value)
            digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
            # Through uint8, because numpy knows no bfloat16.
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
