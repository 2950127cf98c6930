"""`robustkit report`: the pages drawn again, and every export."""

from __future__ import annotations

import json
from pathlib import Path

from report_examples import audit, report

from robustkit.cli import run
from robustkit.report import save

AUDIT = ["audit", "nets_of_mine:cnn", "--weights", "cnn.safetensors", "--data", "digits.npz"]
MODEL = audit("standard CNN", 0.62, gallery=0)


def test_report_is_drawn_again_from_json_alone(case, capsys):
    run([*AUDIT, "--attack", "fgsm", "--limit", "20"])
    page = Path("robustkit-report/report.html").read_text()
    Path("robustkit-report/report.html").unlink()
    assert run(["report", "robustkit-report/report.json"]) == 0
    assert Path("robustkit-report/report.html").read_text() == page
    capsys.readouterr()
    assert run(["report", "robustkit-report/report.json", "--markdown", "-"]) == 0
    assert capsys.readouterr().out == Path("robustkit-report/report.md").read_text()


def test_report_writes_every_format_beside_the_json(in_folder, capsys):
    save(report(MODEL), "out/report.json")
    formats = ("html", "markdown", "robustbench", "model-card", "csv", "junit", "sarif")
    assert run(["report", "out", *(part for name in formats for part in ("-f", name))]) == 0
    written = {str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()}
    assert {"report.html", "report.md", "robustbench.json", "model-card.md", "junit.xml", "report.sarif"} <= written
    assert {"csv/accuracy.csv", "csv/curve.csv"} <= written
    capsys.readouterr()
    assert run(["report", "out/report.json", "-f", "robustbench", "--out", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "standard CNN"
    assert run(["report", "out/report.json", "-f", "csv", "--out", "-"]) == 2
    assert "one file for standard output" in capsys.readouterr().err


def test_exports_stay_out_of_a_bundle(in_folder):
    save(report(MODEL), "out/report.json")
    Path("out/manifest.json").write_text("{}")
    before = set(Path("out").rglob("*"))
    assert run(["report", "out", "-f", "csv", "-f", "model-card", "-f", "markdown"]) == 0
    assert set(Path("out").rglob("*")) == before | {Path("out/report.md")}
    assert Path("out-exports/model-card.md").exists()
    assert Path("out-exports/csv/accuracy.csv").exists()
