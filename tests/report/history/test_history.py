"""Audits over time: which belong together, and the page."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from report_examples import HOSTILE, audit, report
from report_pages import Page

from robustkit.base.errors import ConfigurationError
from robustkit.cli import run
from robustkit.report import save
from robustkit.report.history.history import read_history
from robustkit.report.history.views import render_history
from robustkit.report.text import words

DATES = ("2026-03-04T05:06:07Z", "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00")


@pytest.fixture
def reports(tmp_path):
    """Three reports in a folder, not in the order of time: the last is under another threat model."""
    models = (audit("model", 0.3), audit("model", 0.5), audit(HOSTILE[0], 0.4, norm="L2", quality="unreliable"))
    for number, (model, date) in enumerate(zip(models, DATES, strict=True)):
        one = dataclasses.replace(report(model), id=f"report {number}", created=date)
        save(one, tmp_path / f"deep/inside {number}/report.json")
    return tmp_path


def test_audits_of_the_same_samples_under_the_same_threat_model_stand_together_in_order_of_time(reports):
    first, second = read_history([reports]).groups
    assert [entry.created for entry in first.entries] == [DATES[1], DATES[0]]
    assert [(entry.model, entry.norm) for entry in second.entries] == [(HOSTILE[0], "L2")]
    assert first.title == "500 samples of digits, Linf 8/255, untargeted"


def test_a_copy_counts_once_and_a_damaged_report_is_left_out_with_the_reason(reports):
    original = reports / "deep/inside 0/report.json"
    for name, text in (("copy", original.read_text()), ("damaged", "{"), ("undated", original.read_text())):
        (reports / name).mkdir()
        text = text.replace(DATES[0], "lately") if name == "undated" else text
        (reports / name / "report.json").write_text(text)
    history = read_history([reports])
    assert [group.count for group in history.groups] == [2, 1]
    assert [re.findall("damaged|undated", line)[0] for line in history.left_out] == ["damaged", "undated"]


def test_a_folder_without_a_report_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"expected reports in .*, got no report.json; name their folder"):
        read_history([tmp_path])


def test_the_page_names_every_audit_links_to_it_and_strikes_out_what_failed(reports):
    page = render_history(read_history([reports]), reports / "elsewhere")
    read = Page(page)
    assert page == render_history(read_history([reports]), reports / "elsewhere")
    links = [attrs["href"] for tag, attrs in read.tags if tag == "a" and "report.html" in attrs["href"]]
    assert links == [f"../deep/inside%20{number}/report.html" for number in (0, 1, 2)]
    assert words.shorten(HOSTILE[0], 60) in read.everything()
    assert page.count("<script") == 1
    assert len(read.struck) == 1
    assert page.count("<circle") == 3


def test_the_command_writes_the_page_and_lists_the_audits(reports, monkeypatch, capsys):
    monkeypatch.chdir(reports)
    assert run(["history", "deep", "--out", "made"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"2026-01-01 +model +4\d\.\d %", out)
    assert out.endswith("page made/history.html\n")
    assert "../deep/inside%200/report.html" in Path("made/history.html").read_text()
    assert run(["history", "deep", "--out", "made", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(group["entries"]) for group in found["groups"]] == [2, 1]
    assert found["files"] == ["made/history.html"]
