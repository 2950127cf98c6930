"""Names, kinds and sizes of what lies in a bundle, judged before any of it is opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from robustkit.bundle.failure_messages import Mismatch
from robustkit.report.document.manifest import NAME, PAGES, SIGNATURE, Manifest

MOST_FILES, MOST_AUDITS = 10_000, 100
_MIB = 1 << 20
_ANY = 1 << 40  # points are read piece by piece, so that they may be many
_LARGEST = {NAME: 8 * _MIB, SIGNATURE: _MIB, **dict.fromkeys(PAGES, 256 * _MIB)}
_LARGEST_OF = {".csv": 4096 * _MIB, ".png": 64 * _MIB}


def strange_file(folder: Path) -> Mismatch | None:
    """Returns the first thing in a folder that no bundle holds: a link, a pipe, a device, or a file that is too large.

    Links are not followed, not even to look at what they mean.
    """
    count = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            found, where = path.lstat(), path.relative_to(folder).as_posix()
            if not stat.S_ISDIR(found.st_mode) and (bad := strange_entry(where, found.st_mode, found.st_size)):
                return bad
            count += 1
            if count > MOST_FILES:
                return _too_many(count)
    return None


def strange_entry(name: str, mode: int, size: int) -> Mismatch | None:
    """Returns what is wrong with a file of that name, mode (0 where nobody knows) and size in bytes."""
    if not is_plain(name):
        return Mismatch(repr(name), "a plain name", "a path")
    if mode and not stat.S_ISREG(mode):
        return Mismatch(name, "a regular file", "a link" if stat.S_ISLNK(mode) else "something else")
    most = _LARGEST.get(name, _LARGEST_OF.get(PurePosixPath(name).suffix, _ANY))
    return Mismatch(name, f"at most {most:,} bytes", f"{size:,}") if size > most else None


def strange_manifest(manifest: Manifest) -> Mismatch | None:
    """Returns the first entry of a manifest that names too much, or what is not a file of the bundle."""
    if len(manifest.files) > MOST_FILES:
        return _too_many(len(manifest.files))
    if len(manifest.audits) > MOST_AUDITS:
        return Mismatch(f"{NAME}: audits", f"at most {MOST_AUDITS}", str(len(manifest.audits)))
    for name in manifest.files:
        if not is_plain(name):
            return Mismatch(f"{NAME}: files", "plain names", repr(name))
    for number, part in enumerate(manifest.audits):
        parts = {"ledger": part.ledger} | ({} if part.adversarials is None else {"adversarials": part.adversarials})
        for field, name in parts.items():
            if name not in manifest.files:
                return Mismatch(f"{NAME}: audits[{number}].{field}", "a file of the bundle", repr(name))
    return None


def is_plain(name: str) -> bool:
    """Returns whether a name means one file below a folder, and is spelled in the one way that there is."""
    path = PurePosixPath(name)
    odd = path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name
    return not odd and name not in ("", ".") and path.as_posix() == name


def _too_many(count: int) -> Mismatch:
    return Mismatch("the bundle", f"at most {MOST_FILES:,} files", f"{count:,}")
