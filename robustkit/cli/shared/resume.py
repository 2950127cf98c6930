"""What is kept of an audit that is interrupted, and how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robustkit.base.errors import ConfigurationError, RobustkitError
from robustkit.base.exit_codes import ExitCode
from robustkit.cli.shared.command_line import typed


class Interrupted(RobustkitError):
    """Somebody pressed Ctrl-C, and the message says what is kept."""

    exit_code = ExitCode.INTERRUPTED


def check_resume(folder: Path | None) -> None:
    """Raises ConfigurationError where --resume finds no finished parts in `folder`, or none are ever kept."""
    if folder is None or not _any_part(folder):
        got = "--until or --time-limit, of which nothing is kept" if folder is None else f"none in '{folder}'"
        raise ConfigurationError(
            f"--resume: expected finished parts of an interrupted run, got {got}; run it without --resume"
        )


@contextmanager
def keeping(folder: Path | None) -> Iterator[None]:
    """Context for an evaluation whose finished parts are kept in `folder`, if any; says so when it is interrupted."""
    from robustkit.base.processes import ranks

    try:
        yield
    except KeyboardInterrupt:
        alone = ranks().count == 1
        if folder is None or (alone and not _any_part(folder)):
            raise
        kept = "what is finished" if alone else "what any process has finished"
        again = f"{'' if alone else 'torchrun ... -m '}robustkit {shlex.join([*typed(), '--resume'])}"
        raise Interrupted(f"interrupted; {kept} is kept in '{folder}'; resume with: {again}") from None


def _any_part(folder: Path) -> bool:
    return any(folder.glob("part-*"))
