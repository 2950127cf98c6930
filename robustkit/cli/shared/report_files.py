"""The files of a report: the place is checked before the work, and all of them are written at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustkit.base.errors import ConfigurationError
from robustkit.base.foreign_file import parsing
from robustkit.base.write_file import clear_drafts
from robustkit.cli.shared.answer import answer

if TYPE_CHECKING:
    from robustkit.bundle.keys import PrivateKey
    from robustkit.evaluation.result import Evaluation
    from robustkit.report import About, Audit
    from robustkit.report.document.across import AcrossThreats


def as_stated(*paths: Path) -> AbstractContextManager[None]:
    """Context in which figures are drawn or judged that files state, whoever wrote them."""
    files = " and ".join(f"'{path}'" for path in paths)
    return parsing(f"report {files}", "figures that belong together", "audit again")


def check_folder(folder: Path) -> None:
    """Raises ConfigurationError where `folder` could not be written to, before any time is spent."""
    there = folder
    while not there.exists() and there.parent != there:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--out: expected a folder that can be written, got '{folder}'; choose another")


def check_out(folder: Path) -> None:
    """Does the same for a report, which needs the folder for itself."""
    from robustkit.bundle import save

    check_folder(folder)
    save.check_folder(folder)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Context in which no other command writes into `folder`, and what a killed one left on the way to it is gone.

    Of several processes the first claims it.

    Raises:
        ConfigurationError: If another command is at work there.
    """
    from robustkit.base import lock, new_folder
    from robustkit.base.processes import ranks

    def claim() -> None:
        stack.enter_context(lock.claimed(folder))
        new_folder.recover(folder.resolve())
        clear_drafts(folder)

    with ExitStack() as stack:
        ranks().told(claim)
        yield


def write_report(
    folder: Path,
    audits: Sequence[Audit],
    evaluations: Sequence[Evaluation],
    title: str,
    command: str,
    seed: int,
    *,
    loads: Sequence[Mapping[str, Any]],
    files: Mapping[str, bytes] | None = None,
    archive: bool = False,
    about: About | None = None,
    sign: PrivateKey | None = None,
    across: AcrossThreats | None = None,
) -> None:
    """Writes report and evidence into `folder`, and answers with the report.

    Arguments as for `build_report` and `save_bundle`.
    """
    from robustkit.bundle import save_bundle
    from robustkit.report import load
    from robustkit.report.build import build_report

    report = build_report(audits, title=title, command=command, seed=seed, about=about, across=across)
    save_bundle(report, evaluations, folder, loads=loads, files=files, archive=archive, sign=sign)
    answer(lambda: {"folder": folder, "report": load(folder / "report.json")})  # which lists the evidence, too
