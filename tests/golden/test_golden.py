"""Bundles of earlier versions: whatever the pages say today, those must verify for ever."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import robustkit
from robustkit.bundle.check_report import check_pages
from robustkit.report import from_json

GOLDEN = sorted(Path(__file__).parent.glob("*/*.zip"))


@pytest.fixture(params=GOLDEN, ids=[path.parent.name for path in GOLDEN])
def unpacked(request, tmp_path):
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def test_an_old_bundle_holds_and_what_was_not_compared_is_said(unpacked):
    result = robustkit.verify(unpacked)
    assert result.false == ()
    held = [check.what for check in result.checks if check.status == "holds"]
    assert "percentages in report.html and report.md" in held
    assert "the text of report.html and report.md" in result.trusted


def test_a_changed_figure_on_an_old_page_is_false(unpacked):
    report = from_json((unpacked / "report.json").read_text())
    page = unpacked / "report.html"
    page.write_text(page.read_text().replace("80.0\N{NO-BREAK SPACE}%", "88.8\N{NO-BREAK SPACE}%"))
    wrong, compared = check_pages(unpacked, report)
    assert [str(one) for one in wrong] == ["report.html: expected the percentages of report.json, got 88.8 %"]
    assert not compared
