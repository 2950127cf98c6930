"""Broken files and odd options: taken, or refused in one line. `benchmarks/fuzz.py` does the same at length."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    described = importlib.util.spec_from_file_location("fuzz", SOURCE)
    sys.modules["fuzz"] = module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("fuzz")
        patch.chdir(folder)
        patch.setattr("tempfile.tempdir", None)
        yield module.Fuzz(folder.resolve(), shares=(8, 1, 1))


def test_no_broken_file_and_no_odd_option_ends_in_a_traceback(fuzz):
    for number in range(200):
        fuzz.trial(f"suite/{number}")
    assert [fault for outcome in fuzz.found.values() for fault in outcome.faults] == []
    assert sum(outcome.refused for outcome in fuzz.found.values()) > 100


def test_a_traceback_a_second_line_and_a_write_elsewhere_are_found(fuzz, tmp_path):
    def raises():
        raise KeyError("x")

    def writes():
        (tmp_path / "elsewhere").write_text("x")

    for does in (raises, lambda: "one\ntwo", lambda: "TypeError: x (this is a bug of robustkit)", writes):
        outcome = sys.modules["fuzz"].Outcome()
        fuzz._judge(outcome, "0", does)
        assert len(outcome.faults) == 1
