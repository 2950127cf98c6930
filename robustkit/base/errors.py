"""What can go wrong, and the exit code the command line gives it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from robustkit.base.exit_codes import ExitCode


class RobustkitError(Exception):
    """Base of every error robustkit raises on purpose; its text is one line for a person.

    The text says who complains, what was expected, what was found and what to do.
    """

    exit_code = ExitCode.USAGE


class ConfigurationError(RobustkitError, ValueError):
    """A setting, a name, a file or a command that cannot be used as given (exit code 2)."""


class InvalidEvaluation(RobustkitError, ValueError):
    """Model or data that would make every number of the evaluation meaningless (exit code 3)."""

    exit_code = ExitCode.UNRELIABLE


def suggest(name: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the known name nearest to `name`, else the known names."""
    spelled = {item.lower(): item for item in sorted(known)}
    near = difflib.get_close_matches(name.lower(), spelled, n=1)
    return f"; did you mean '{spelled[near[0]]}'?" if near else f"; known: {', '.join(spelled.values())}"


def one_line(error: BaseException) -> str:
    """Returns the type and the text of `error` in one line of at most 200 characters, without colours.

    Of an error in the worker of a loader, whose text is a whole traceback, the last line says both.
    """
    told = re.sub(r"\x1b\[\d*m", "", str(error))
    if "Original Traceback (most recent call last)" in told:
        return told.strip().rpartition("\n")[2][:200]
    return f"{type(error).__name__}: {' '.join(told.split())}"[:200].removesuffix(": ")
