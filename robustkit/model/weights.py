"""Weight files: read without running any code they carry, matched name by name, and fingerprinted."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError, one_line

CONTAINERS = ("state_dict", "model_state_dict", "model", "net")
WRAPPERS = ("module.", "model.", "_orig_mod.", "attacker.model.")


def load_weights(module: nn.Module, path: str | Path, trust_checkpoint: bool = False) -> str:
    """Fills every parameter and buffer of `module` from a file, or raises and leaves `module` untouched.

    Weights may lie under one of the keys `CONTAINERS`. Names may carry the prefixes `WRAPPERS`, which
    wrappers such as DataParallel and torch.compile add: they are taken off where the bare name is expected.

    Args:
        module: Its own names, shapes and dtypes decide what is expected.
        path: A `.safetensors` file; any other suffix is read as a torch checkpoint.
        trust_checkpoint: Unpickle the checkpoint in full, which runs whatever code it carries.

    Returns:
        What was changed about the names, as one sentence, or "".

    Raises:
        ConfigurationError: If the file cannot be read as plain tensors, or its names or shapes are not
            exactly those of `module`.
    """
    path = Path(path)
    weights = _tensors(read_checkpoint(path, trust_checkpoint), path)
    expected = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        bare = _bare_name(name, expected)
        if bare in found and not _same(found[bare], value):
            raise ConfigurationError(
                f"weights '{path}': expected one tensor per name, got two that differ for '{bare}', one as"
                f" '{name}'; keep one"
            )
        found[bare] = value
    problems = [
        *_listed("missing", (name for name in expected if name not in found)),
        *_listed("unexpected", (name for name in found if name not in expected)),
        *_listed(
            "mis-shaped",
            (
                f"{name} {tuple(value.shape)} for {tuple(expected[name].shape)}"
                for name, value in found.items()
                if name in expected and value.shape != expected[name].shape
            ),
        ),
    ]
    if problems:
        raise ConfigurationError(
            f"weights '{path}': expected exactly the {len(expected)} tensors of {type(module).__name__}, got"
            f" {'; '.join(problems)}; use the architecture that was saved"
        )
    module.load_state_dict(found)
    renamed = [name for name in weights if name not in expected]
    return f"wrapper prefixes were taken off {len(renamed)} names, such as '{renamed[0]}'" if renamed else ""


def read_checkpoint(path: Path, trust_checkpoint: bool) -> Any:
    """Returns what the file holds, on the CPU; only a trusted checkpoint may hold more than plain tensors.

    Raises:
        ConfigurationError: If there is no such file, it is damaged, or it asks for code and is not trusted.
    """
    if not path.is_file():
        raise ConfigurationError(f"checkpoint '{path}': expected a file, found none; check the path")
    if path.stat().st_size == 0:
        raise ConfigurationError(f"checkpoint '{path}': expected weights, got an empty file; save it again")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            for notice in (
                "Detected pickle protocol",
                r"'torch\.load' received a zip file that looks like a Torch",
            ):
                warnings.filterwarnings("ignore", message=notice)
            return torch.load(path, map_location="cpu", weights_only=not trust_checkpoint)
    except pickle.UnpicklingError as error:
        if trust_checkpoint:
            raise _damaged(path, error) from error
        wanted = re.search(r"GLOBAL '?([\w.]+)", str(error))
        raise ConfigurationError(
            f"checkpoint '{path}': expected plain tensors, got a pickle that asks for"
            f" {wanted[1] if wanted else 'more than that'}; none of it was run, and --trust-checkpoint would"
            " run the file's code: use it only if you trust who made the file"
        ) from error
    except Exception as error:
        raise _damaged(path, error) from error


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
            value = value.dequantize() if value.is_quantized else value
            digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
            # Through uint8, because numpy knows no bfloat16.
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _damaged(path: Path, error: Exception) -> ConfigurationError:
    reason = one_line(error).split(". ")[0]
    return ConfigurationError(
        f"checkpoint '{path}': expected weights, got a damaged or foreign file ({reason}); save it again"
    )


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Returns the state dict inside a checkpoint, whichever of the usual keys it lies under."""
    while isinstance(content, Mapping):
        inner = next((content[k] for k in CONTAINERS if isinstance(content.get(k), (Mapping, nn.Module))), None)
        if inner is None:
            break
        content = inner
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if isinstance(content, Mapping) and content and all(isinstance(v, Tensor) for v in content.values()):
        return {str(name): value for name, value in content.items()}
    got = f"a dict of {', '.join(map(str, [*content][:6]))}" if isinstance(content, dict) else type(content).__name__
    raise ConfigurationError(
        f"weights '{path}': expected named tensors, at the top or under {', '.join(CONTAINERS)}, got {got};"
        " save module.state_dict()"
    )


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def _bare_name(name: str, expected: Iterable[str]) -> str:
    bare = name
    while bare not in expected:
        wrapper = next((w for w in WRAPPERS if bare.startswith(w)), None)
        if wrapper is None:
            break
        bare = bare.removeprefix(wrapper)
    return bare


def _listed(problem: str, names: Iterable[str]) -> list[str]:
    every = list(names)
    shown = ", ".join(every[:3]) + (", ..." if len(every) > 3 else "")
    return [f"{len(every)} {problem}: {shown}"] if every else []
