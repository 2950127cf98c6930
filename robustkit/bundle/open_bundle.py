"""Opening a bundle, and its first check: are these the files that were written, all of them and no others."""

from __future__ import annotations

import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robustkit.base.errors import ConfigurationError
from robustkit.base.foreign_file import parsing, regular
from robustkit.bundle.allowed_files import MOST_FILES, is_plain, strange_entry, strange_file, strange_manifest
from robustkit.bundle.failure_messages import Mismatch
from robustkit.bundle.save import files_in
from robustkit.model.weights import sha256
from robustkit.report.document.manifest import NAME, SIGNATURE, Manifest, from_text

MOST_UNPACKED, LITTLE = 100, 1 << 26  # times the size of the archive; bytes that any archive may unpack to


@contextmanager
def opened(bundle: str | Path) -> Iterator[Path]:
    """Context with the folder that holds the files of a bundle; an archive is unpacked into a temporary one.

    Raises:
        ConfigurationError: If there is no bundle.
    """
    path = Path(bundle)
    if path.is_dir():
        if not (path / NAME).is_file():
            raise ConfigurationError(
                f"bundle '{path}': expected a folder with {NAME}, got one without; `robustkit audit` makes them"
            )
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="robustkit-") as folder:
        _unpack(path, Path(folder))
        yield Path(folder)


def _unpack(path: Path, folder: Path) -> None:
    expected = "a folder or a .zip archive of one"
    with parsing(f"bundle '{path}'", expected, "check the path"), zipfile.ZipFile(regular(path)) as archive:
        if strange := _strange(archive, path.stat().st_size):
            raise ConfigurationError(f"bundle '{path}': expected an archive with {NAME} and plain names, got {strange}")
        archive.extractall(folder)


def _strange(archive: zipfile.ZipFile, packed: int) -> str | None:
    """Returns what an archive of `packed` bytes holds that no bundle does, by its table of contents alone."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        return f"one with {len(entries):,} entries, more than {MOST_FILES:,}"
    files = [entry for entry in entries if not entry.is_dir()]
    for entry in entries:
        name, mode = entry.filename.removesuffix("/"), entry.external_attr >> 16
        bad = strange_entry(name, 0 if entry.is_dir() else mode if stat.S_IFMT(mode) else 0, entry.file_size)
        if bad is not None:
            return f"one with {name!r}" if not is_plain(name) else f"one with {bad.where}, {bad.got}"
    if len({entry.filename for entry in files}) < len(files):
        return "one that holds a name twice"
    if sum(entry.file_size for entry in files) > max(packed * MOST_UNPACKED, LITTLE):
        return f"one that unpacks to more than {MOST_UNPACKED} times its size"
    return None if NAME in archive.namelist() else "another"


def check_files(folder: Path) -> tuple[Manifest | None, list[Mismatch]]:
    """Returns the manifest, and every file that is not as it was written.

    The manifest is None, and nothing further was opened, where it cannot be trusted to be one, or where the folder
    holds, or the manifest names, what no bundle does.
    """
    if strange := strange_file(folder):
        return None, [strange]
    try:
        manifest = from_text((folder / NAME).read_bytes().decode())
    except UnicodeDecodeError:
        return None, [Mismatch(NAME, "UTF-8 text", "other bytes")]
    except ConfigurationError as error:
        expected, _, got = str(error).removeprefix("expected ").partition(", got ")
        return None, [Mismatch(NAME, expected, got)]
    if strange := strange_manifest(manifest):
        return None, [strange]
    there = files_in(folder) - {NAME, SIGNATURE}
    found = [Mismatch(name, "this file", "none") for name in sorted(set(manifest.files) - there)]
    found += [Mismatch(name, "no such file", "one") for name in sorted(there - set(manifest.files))]
    for name, listed in manifest.files.items():
        if name in there and (actual := sha256(folder / name)) != listed:
            found.append(Mismatch(name, f"SHA-256 {listed[:12]}...", f"{actual[:12]}..."))
    return manifest, found
