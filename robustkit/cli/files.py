"""The files of a report: checked before the work, made in memory, written whole at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robustkit.errors import ConfigurationError
from robustkit.files import write_atomically

if TYPE_CHECKING:
    from robustkit.report import About, Audit


def check_folder(folder: Path) -> None:
    """Raises ConfigurationError where `folder` could not be written to, before any time is spent."""
    there = folder
    while not there.exists() and there.parent != there:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--out: expected a folder that can be written, got '{folder}'; choose another")


def write_report(
    folder: Path,
    audits: Sequence[Audit],
    ledgers: Mapping[str, str],
    title: str,
    command: str,
    seed: int,
    about: About | None = None,
) -> None:
    """Writes report.json, report.html, report.md and the ledgers (CSV by file name) into `folder`."""
    from robustkit.report import Artefact, render_html, render_markdown, to_json
    from robustkit.report.build import build_report

    artefacts = [Artefact(name, hashlib.sha256(text.encode()).hexdigest()) for name, text in ledgers.items()]
    report = build_report(audits, title=title, command=command, seed=seed, artefacts=artefacts, about=about)
    pages = {"report.html": render_html(report), "report.md": render_markdown(report), "report.json": to_json(report)}
    for name, text in {**ledgers, **pages}.items():
        write_atomically(folder / name, text)
