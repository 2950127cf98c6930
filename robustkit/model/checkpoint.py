"""Weight files, told apart by their content and read without running any code they carry."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors.torch import load_file

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.base.foreign_file import parsing
from robustkit.base.npz import Arrays

# How other files begin, what they are, and what to do.
FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer, which only stands for the file", "run git lfs pull"),
    (b"<", "a web page, as a failed download leaves it", "download the file itself"),
    (b"\x89HDF\r\n", "an HDF5 file, as Keras writes it", "convert it to safetensors"),
    (b"\x93NUMPY", "one NumPy array without names", "save all of them by name with numpy.savez"),
    (b"GGUF", "a GGUF file", "convert it to safetensors"),
    *(
        (start, f"a file packed with {name}", "unpack it")
        for start, name in (
            (b"\x1f\x8b", "gzip"),
            (b"BZh", "bzip2"),
            (b"\xfd7zXZ", "xz"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"7z\xbc\xaf", "7z"),
            (b"Rar!", "rar"),
        )
    ),
)


def read_checkpoint(path: Path, trust_checkpoint: bool) -> Any:
    """Returns what the file holds, on the CPU; only a trusted checkpoint may hold more than plain tensors.

    The content decides, not the suffix: safetensors, a torch checkpoint, or an .npz of plain arrays.

    Raises:
        ConfigurationError: If there is no such file, it is damaged or something else, or it asks for code and is not
            trusted.
    """
    if not path.is_file():
        got = "none but a folder; name the file in it" if path.is_dir() else "none; check the path"
        raise ConfigurationError(f"checkpoint '{path}': expected a file, found {got}")
    size = path.stat().st_size
    if size == 0:
        raise ConfigurationError(f"checkpoint '{path}': expected weights, got an empty file; save it again")
    with path.open("rb") as file:
        head = file.read(512)
    _refuse_foreign(path, head)
    with parsing(f"checkpoint '{path}'", "weights", "download or save it again", "a damaged or foreign file"):
        if _is_safetensors(head):
            return load_file(path)
        if head.startswith(b"PK"):
            return _read_zip(path, trust_checkpoint)
        return _read_pickle(path, head, trust_checkpoint)


def _refuse_foreign(path: Path, head: bytes) -> None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    got = next(((what, fix) for begins, what, fix in FOREIGN if start.startswith(begins)), None)
    if got is None and start[:1] == b"\x08" and (start[2:3] == b"\x12" or path.suffix == ".onnx"):
        got = "an ONNX model", "give it as the model, without weights"
    if got is None and start.startswith(b"{"):
        got = _json(path)
    if got is None and re.fullmatch(rb"[\t\n\r\x20-\x7e]{16,}", head) and not start.startswith((b"(", b"c")):
        got = f"a text that begins {head[:30].decode()!r}", "give the file of the weights"
    if got:
        raise ConfigurationError(f"checkpoint '{path}': expected weights, got {got[0]}; {got[1]}")


def _json(path: Path) -> tuple[str, str]:
    try:
        shards = set(json.loads(path.read_bytes())["weight_map"].values())
    except (ValueError, TypeError, KeyError, AttributeError):
        return "a JSON text", "give the file of the weights"
    return f"the index of a checkpoint in {len(shards)} files", "join them into one .safetensors file"


def _is_safetensors(head: bytes) -> bool:
    """Whether a length below the format's limit of 100 MB is followed by the header, which is JSON."""
    return int.from_bytes(head[:8], "little") <= 100_000_000 and head[8:9] == b"{"


def _read_zip(path: Path, trusted: bool) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {name.rpartition("/")[2]: name for name in archive.namelist()}
            program = archive.read(entries["data.pkl"]) if "data.pkl" in entries else None
    except zipfile.BadZipFile as error:
        raise _damaged(path, f"a zip archive that is cut off or broken: {one_line(error)}") from error
    if entries and all(name.endswith(".npy") for name in entries):
        return _read_npz(path)
    if program is None:
        raise ConfigurationError(
            f"checkpoint '{path}': expected weights, got a zip archive of {', '.join([*entries][:3])}; unpack it and"
            " give the file of the weights"
        )
    if "constants.pkl" in entries and not trusted:
        raise ConfigurationError(
            f"checkpoint '{path}': expected weights, got a TorchScript program; give it as the model, without weights"
        )
    if _words(io.BytesIO(program)) is None:
        raise _damaged(path, "its list of tensors is not whole")
    return _torch_load(path, trusted)


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = Arrays(archive, path)
            return {name: arrays[name] for name in arrays.names}
    except ValueError as error:
        raise ConfigurationError(
            f"checkpoint '{path}': expected plain arrays, got an .npz with something else ({one_line(error)}); save"
            " module.state_dict()"
        ) from error


def _read_pickle(path: Path, head: bytes, trusted: bool) -> Any:
    if head[257:262] == b"ustar" and not trusted:
        raise ConfigurationError(f"checkpoint '{path}': expected weights, got a tar archive; unpack it")
    with path.open("rb") as file:
        first = _words(file)
        if first is None:
            raise _damaged(path, "neither safetensors nor a torch checkpoint")
        if first == {torch.serialization.MAGIC_NUMBER}:
            if None in [_words(file) for _ in range(3)]:  # version, machine, and the list of tensors
                raise _damaged(path, "its list of tensors is not whole")
            return _torch_load(path, trusted)
    if trusted:
        with path.open("rb") as file:
            return pickle.load(file)
    if _of_numpy(first):
        raise ConfigurationError(
            f"checkpoint '{path}': expected weights, got a pickle of NumPy arrays; save them with numpy.savez"
        )
    raise _untrusted(path, "")


def _torch_load(path: Path, trusted: bool) -> Any:
    with warnings.catch_warnings(), torch.serialization.safe_globals(_NUMPY_SCALARS):
        for notice in (
            "Detected pickle protocol",
            r"'torch\.load' received a zip file that looks like a Torch",
        ):
            warnings.filterwarnings("ignore", message=notice)
        try:
            with path.open("rb") as file:  # given the path, torch goes by its suffix
                return torch.load(file, map_location="cpu", weights_only=not trusted)
        except pickle.UnpicklingError as error:
            if trusted:
                raise
            raise _untrusted(path, str(error)) from error


# A best accuracy saved beside the weights often is one; such a scalar is a type and its bytes.
_NUMPY_SCALARS: list[Any] = [
    (np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")
] + [np.dtype, *{type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")}]


def _words(program: IO[bytes]) -> set[Any] | None:
    """Returns texts and large numbers of a pickle, without running it; None where it is none or not whole."""
    try:
        return {
            value
            for _, value, _ in pickletools.genops(program)
            if isinstance(value, str) or (isinstance(value, int) and value > 2**60)
        }
    except Exception:
        return None


def _of_numpy(words: set[Any]) -> bool:
    return any(str(word).startswith(("numpy.core.multiarray", "numpy._core.multiarray")) for word in words)


def _untrusted(path: Path, error: str) -> ConfigurationError:
    wanted = re.search(r"GLOBAL '?([\w.]+)", error)
    return ConfigurationError(
        f"checkpoint '{path}': expected plain tensors, got a pickle that asks for"
        f" {wanted[1] if wanted else 'more than that'}; none of it was run, and --trust-checkpoint would"
        " run the file's code: use it only if you trust who made the file"
    )


def _damaged(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"checkpoint '{path}': expected weights, got a damaged or foreign file ({reason}); download or save it again"
    )
