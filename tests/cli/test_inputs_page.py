"""What docs/inputs.md says about sequences, signals and texts, done."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from follow_page import follow

PAGE = Path(__file__).parent.parent.parent / "docs" / "inputs.md"
TEXTS = "## A text classifier"


@pytest.mark.slow
def test_sequences_and_signals_are_audited_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    follow(PAGE.read_text(encoding="utf-8").partition(TEXTS)[0])
    (audit,) = json.loads(Path("robustkit-report/report.json").read_text())["audits"]
    assert audit["threat"]["layout"]["padding"] == "lengths"
    assert audit["worst_case"]["attack_success"]["k"] > 0
    assert "only x may change, and no padding in it" in Path("robustkit-report/report.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("transformers") is None, reason="needs transformers")
@pytest.mark.filterwarnings("default")
def test_texts_are_audited_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    follow("".join(PAGE.read_text(encoding="utf-8").partition(TEXTS)[1:]))
    (audit,) = json.loads(Path("robustkit-report/report.json").read_text())["audits"]
    assert audit["threat"]["layout"]["parts"][0]["name"] == "inputs_embeds"
