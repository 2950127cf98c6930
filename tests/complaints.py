"""What the command line complains about, in the form every complaint has."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustkit.cli import run


def complaint(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 2) -> str:
    """Runs a wrong command line; returns its one line of complaint."""
    assert run(arguments) == code
    error = capsys.readouterr().err.lstrip()  # after ^C the line begins on a new one
    assert error.startswith("robustkit: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert not list(Path().glob("robustkit-report/*"))
    return error
