"""What is kept of a run that is interrupted, and how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robustkit.base.errors import ConfigurationError, RobustkitError
from robustkit.base.exit_codes import ExitCode
from robustkit.cli.shared.command_line import typed


class Interrupted(RobustkitError):
    """Somebody pressed Ctrl-C or sent SIGTERM, and the message says what is kept."""

    exit_code = ExitCode.INTERRUPTED


def check_resume(resume: bool, folder: Path | None) -> None:
    """Raises ConfigurationError where --resume is asked for a run of which nothing is ever kept."""
    if resume and folder is None:
        raise ConfigurationError(
            "--resume: expected finished parts of an interrupted run, got --until or --time-limit, of which nothing is"
            " kept; run it without --resume"
        )


@contextmanager
def keeping(folder: Path | None, files: str = "part-*") -> Iterator[None]:
    """Context for a run that keeps what is finished as `files` in `folder`, if any; says so when it is interrupted."""
    from robustkit.base.processes import ranks

    try:
        yield
    except KeyboardInterrupt:
        count = ranks().count
        if folder is None or (count == 1 and not any(folder.glob(files))):
            raise
        kept = "what is finished" if count == 1 else "what any process has finished"
        again = f"{'' if count == 1 else f'torchrun --nproc-per-node {count} -m '}robustkit "
        again += shlex.join([*typed(), "--resume"])
        raise Interrupted(f"interrupted; {kept} is kept in '{folder}'; resume with: {again}") from None
