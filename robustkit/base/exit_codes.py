"""What a command answers to the shell: every exit code stands here, and nowhere else."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes, each with the words that `robustkit --help` has for it."""

    meaning: str

    OK = 0, "ok"
    NOT_MET = 1, "requirement not met"
    USAGE = 2, "usage or configuration"
    UNRELIABLE = 3, "evaluation invalid or unreliable"
    UNDECIDED = 4, "undecided"
    INTERNAL = 70, "internal error: a bug of robustkit"
    INTERRUPTED = 130, "interrupted"

    def __new__(cls, code: int, meaning: str) -> ExitCode:
        """Makes a member of a number and its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


def listed() -> str:
    r"""Returns all codes with their meaning, one a line, after click's mark \b for text that is not to be wrapped."""
    return "\n".join(["\b", "Exit codes:", *(f"  {code.value:<4} {code.meaning}" for code in ExitCode)])
