"""What is kept of a run that is interrupted, and how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from robustkit.base.errors import RobustkitError
from robustkit.base.exit_codes import ExitCode
from robustkit.cli.shared.answer import as_json
from robustkit.cli.shared.command_line import typed


class Interrupted(RobustkitError):
    """Somebody pressed Ctrl-C or sent SIGTERM, and the message says what is kept."""

    exit_code = ExitCode.INTERRUPTED


@contextmanager
def keeping(folder: Path, files: str = "part-*") -> Iterator[None]:
    """Context for a run that keeps what is finished as `files` in `folder`; says so when it is interrupted.

    What an earlier run left there is kept only if this one goes on from it.
    """
    from robustkit.base.processes import ranks

    context = click.get_current_context(silent=True)
    before = set() if context and context.params.get("resume") else _there(folder, files)
    try:
        yield
    except KeyboardInterrupt:
        count = ranks().count
        if count == 1 and not _there(folder, files) - before:
            raise
        kept = "what is finished" if count == 1 else "what any process has finished"
        again = f"{'' if count == 1 else f'torchrun --nproc-per-node {count} -m '}robustkit "
        again += shlex.join([*typed(), *(["--json"] if as_json() else []), "--resume"])
        raise Interrupted(f"interrupted; {kept} is kept in '{folder}'; resume with: {again}") from None


def _there(folder: Path, files: str) -> set[tuple[Path, int]]:
    """Returns the files, each with the time at which it was written."""
    return {(path, path.stat().st_mtime_ns) for path in folder.glob(files)}
