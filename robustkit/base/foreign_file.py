"""Files of others: whatever their parsing raises is one line about the file, and never a bug of ours."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robustkit.base.errors import ConfigurationError, RobustkitError, one_line


@contextmanager
def parsing(who: str, expected: str, fix: str = "check it", found: str = "") -> Iterator[None]:
    """Context in which one file, or text from elsewhere, is read and parsed.

    Parsers raise what their authors never thought of, so that a list of exceptions would never be complete.

    Args:
        who: Whose file it is, and which, such as "recipe 'a.toml'".
        expected: What it should hold.
        fix: What to do.
        found: What was found, such as its name where `who` does not say it; the reason stands behind it.

    Raises:
        ConfigurationError: Whatever was raised inside, except that our own errors pass through.
    """
    try:
        yield
    except RobustkitError:
        raise
    except Exception as error:
        got = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else one_line(error)
        got = (isinstance(error, OSError) and error.strerror) or got
        got = f"{found} ({got})" if found else got
        raise ConfigurationError(f"{who}: expected {expected}, got {got}; {fix}") from error


def regular(path: Path) -> Path:
    """Returns the path of a file to open.

    Raises:
        OSError: If it is a pipe, which may wait for ever, or a device, which may have no end.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.ENOTSUP, "a pipe or a device, not a file")
    return path


def content(path: Path) -> bytes:
    """Returns the bytes of a `regular` file."""
    return regular(path).read_bytes()
