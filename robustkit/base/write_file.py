"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from robustkit.base.errors import ConfigurationError


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
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(
            f"write: expected a file that can be written, got '{path}' ({reason}); choose another path"
        ) from error
    return path
