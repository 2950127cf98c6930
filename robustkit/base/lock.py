"""One process at a time for a folder that is written to: a lock that ends with the process that holds it."""

from __future__ import annotations

import datetime
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from robustkit.base.errors import ConfigurationError
from robustkit.base.write_file import cannot_write

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_held: set[Path] = set()


@contextmanager
def claimed(folder: str | Path) -> Iterator[None]:
    """Context in which no other process can claim `folder`, which need not be there; inside another nothing happens.

    The system takes the lock away from a process that ends in whatever way, so none is ever left behind.

    Raises:
        ConfigurationError: If another process has it, with its number, its machine and since when; or if the place
            cannot be written to.
    """
    path = lock_file(Path(folder).resolve())
    if path in _held or fcntl is None:
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    if file is None:
        raise ConfigurationError(
            f"--out: expected a folder that nobody else writes to, got '{folder}', in use by {_holder(path)}; wait for"
            " it, or choose another"
        )
    _held.add(path)
    with file:
        try:
            since = f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}"
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
            file.flush()
            yield
        finally:
            _held.discard(path)
            path.unlink(missing_ok=True)


def lock_file(folder: Path) -> Path:
    """Returns the path of the lock of a folder: beside it, or in it where only that can be written to."""
    inside = folder.is_dir() and not os.access(folder.parent, os.W_OK | os.X_OK)
    return (folder if inside else folder.parent) / f".{folder.name}.lock"


def _locked(path: Path) -> IO[str] | None:
    """Returns the open and locked file, None where another process has locked it."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.truncate(0)
                return file
        except FileNotFoundError:
            pass
        except OSError as error:
            file.close()
            if isinstance(error, BlockingIOError):
                return None
            raise
        file.close()  # whoever had it removed the file meanwhile


def _holder(path: Path) -> str:
    try:
        return " ".join(path.read_text(encoding="utf-8").split())[:200] or "another process"
    except OSError:
        return "another process"
