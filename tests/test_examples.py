"""The scripts in examples/ run as they stand."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPTS = {script.stem: script for script in sorted((Path(__file__).parent.parent / "examples").glob("*.py"))}
SAID = {"attack_and_report": "false claims: ()", "train_in_your_loop": "of 50 broken"}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs(script, in_folder, capsys):
    pytest.importorskip("matplotlib")
    runpy.run_path(str(SCRIPTS[script]), run_name="__main__")
    assert SAID[script] in capsys.readouterr().out
