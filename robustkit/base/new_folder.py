"""A folder that takes the place of an earlier one as a whole."""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robustkit.base.signals import held

_HERE = -100  # AT_FDCWD: paths as they are, as in linux/fcntl.h
_EXCHANGE = 2  # RENAME_EXCHANGE, as in linux/fs.h


def draft_beside(folder: Path) -> Path:
    """Returns a free name beside `folder`, by which `drafts_of` knows it again."""
    return folder.parent / f".{folder.name}.{secrets.token_hex(8)}.tmp"


def drafts_of(folder: Path) -> Iterator[Path]:
    """Yields what killed processes left beside `folder` on the way to it; ask only while it is claimed."""
    draft = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{16}}\.tmp(\.zip)?")
    there = folder.parent.iterdir() if folder.parent.is_dir() else ()
    yield from [path for path in there if draft.fullmatch(path.name)]


def recover(folder: Path) -> None:
    """Removes what killed processes left beside `folder`; call it only while that is claimed."""
    for path in drafts_of(folder):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    earlier = _earlier(folder)
    if earlier.is_dir():
        shutil.rmtree(earlier) if folder.exists() else earlier.rename(folder)


def movable(folder: Path) -> bool:
    """Whether another folder can take the name of this one, which is no mount point and where nobody is at work."""
    return (
        os.access(folder.parent, os.W_OK | os.X_OK) and not folder.is_mount() and not Path.cwd().is_relative_to(folder)
    )


def swap(place: Path, folder: Path) -> None:
    """Gives the folder `place` the name `folder`, and what had that name before the name `place`.

    Linux does so in one step. Elsewhere a process that is killed between two steps leaves the earlier folder to
    `recover`.

    Raises:
        OSError: If the file system refuses.
    """
    with held():
        if folder.is_dir():
            shutil.copymode(folder, place)
        if not folder.exists():
            place.rename(folder)
        elif not _exchanged(place, folder):
            earlier = _earlier(folder)
            folder.rename(earlier)
            place.rename(folder)
            earlier.rename(place)


def _earlier(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.earlier"


def _exchanged(first: Path, second: Path) -> bool:
    """Exchanges two names in one step and returns whether that is possible here."""
    if not sys.platform.startswith("linux"):
        return False
    exchange: Any = getattr(ctypes.CDLL(None), "renameat2", lambda *_: -1)
    return bool(exchange(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0)
