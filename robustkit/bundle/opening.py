"""Opening a bundle, and its first check: are these the files that were written, all of them and no others."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from robustkit.base.errors import ConfigurationError
from robustkit.bundle.mismatch import Mismatch
from robustkit.bundle.save import files_in
from robustkit.model.weights import sha256
from robustkit.report.document.manifest import NAME, Manifest, from_text


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
    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            bad = [n for n in names if PurePosixPath(n).is_absolute() or ".." in PurePosixPath(n).parts or "\\" in n]
            if NAME not in names or bad or len(set(names)) < len(names):
                got = f"one with {bad[0]!r}" if bad else "one that holds a name twice" if NAME in names else "another"
                raise ConfigurationError(f"bundle '{path}': expected an archive with {NAME} and plain names, got {got}")
            archive.extractall(folder)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"bundle '{path}': expected a folder or a .zip archive of one, got something that cannot be read"
            f" ({reason}); check the path"
        ) from None


def check_files(folder: Path) -> tuple[Manifest | None, list[Mismatch]]:
    """Returns the manifest, None where it cannot be trusted to be one, and every file that is not as it was written."""
    try:
        manifest = from_text((folder / NAME).read_bytes().decode())
    except UnicodeDecodeError:
        return None, [Mismatch(NAME, "UTF-8 text", "other bytes")]
    except ConfigurationError as error:
        expected, _, got = str(error).removeprefix("expected ").partition(", got ")
        return None, [Mismatch(NAME, expected, got)]
    there = files_in(folder) - {NAME}
    found = [Mismatch(name, "this file", "none") for name in sorted(set(manifest.files) - there)]
    found += [Mismatch(name, "no such file", "one") for name in sorted(there - set(manifest.files))]
    for name, listed in manifest.files.items():
        if name in there and (actual := sha256(folder / name)) != listed:
            found.append(Mismatch(name, f"SHA-256 {listed[:12]}...", f"{actual[:12]}..."))
    return manifest, found
