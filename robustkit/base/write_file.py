"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from robustkit.base.errors import ConfigurationError

_DRAFT = re.compile(r"\.[0-9a-f]{16}\.tmp")


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Writes `content` and returns the path; a reader sees the old file or the new one, never half of it.

    Missing folders are made. The content goes to a new file in the same folder, which then takes the name.

    Args:
        path: Where the file shall be.
        content: Text, written as UTF-8 with its line ends as they are, or bytes.

    Raises:
        ConfigurationError: the file cannot be written there.
    """
    path = Path(path)
    # An ordinary open, not tempfile, which would leave a file that only its owner can read.
    draft = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


@contextmanager
def written_in_steps(path: str | os.PathLike[str]) -> Iterator[Callable[[str], None]]:
    """Context with a function that adds text to a file, on the disk at once; at the end the file takes its name.

    Until then, and after an error, its name ends in `.part`: what a killed run has done is not lost, and a file under
    its own name is whole. Nothing is made before the first text.

    Args:
        path: Where the file shall be.

    Raises:
        ConfigurationError: the file cannot be written there.
    """
    path = Path(path)
    part, started = path.with_name(f"{path.name}.part"), False

    def add(text: str) -> None:
        nonlocal started
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("ab" if started else "wb") as file:
                file.write(text.encode())
        except OSError as error:
            raise cannot_write(path, error) from error
        started = True

    yield add
    if started:
        try:
            part.replace(path)
        except OSError as error:
            raise cannot_write(path, error) from error


def clear_drafts(folder: Path) -> None:
    """Removes what `write_atomically` left in a folder when its process was killed; nobody must write there."""
    for path in folder.glob(".*.tmp"):
        if _DRAFT.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> ConfigurationError:
    """Returns the error that a file cannot be written, with the reason the system gives."""
    reason = error.strerror or type(error).__name__
    return ConfigurationError(
        f"write: expected a file that can be written, got '{path}' ({reason}); choose another path"
    )
