"""`robustkit gate`: its exit codes and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_examples import audit, report

from robustkit.cli import run
from robustkit.report import save

MODEL = audit("standard CNN", 0.62, names=tuple("abcd"), gallery=0)


def test_the_command_answers_with_its_exit_code_and_writes_every_format(in_folder, capsys):
    save(report(MODEL, audit("second", 0.05, names=tuple("abcd"))), "report.json")
    gate = ["gate", ".", "--audit", "standard CNN"]
    assert run([*gate, "--require", "robust_accuracy>=0.1"]) == 0
    assert run([*gate, "--require", "robust_accuracy>=0.1", "--require", "robust_accuracy>=0.65"]) == 4
    assert run(["gate", "report.json", "--require", "robust_accuracy>=0.5"]) == 1
    files = ["--junit", "a/gate.xml", "--sarif", "gate.sarif", "--markdown", "gate.md"]
    capsys.readouterr()
    assert run(["gate", "report.json", "--require", "robust_accuracy>=0.5", *files]) == 1
    captured = capsys.readouterr()
    assert "standard CNN: met" in captured.out
    assert "second: not met" in captured.out
    assert captured.err == "robustkit: not met: robust_accuracy >= 0.5\n"
    assert len(ElementTree.parse("a/gate.xml").getroot()) == 2
    assert json.loads(Path("gate.sarif").read_text())["version"] == "2.1.0"
    assert run(["gate", "report.json", "--require", "robust_accuracy>=0.5", "--markdown", "-", "--base", "."]) == 1
    assert capsys.readouterr().out.startswith("## Robustness gate: not met\n")
    save(report(audit("m", 0.9, quality="invalid")), "bad.json")
    assert run(["gate", "bad.json", "--require", "robust_accuracy>=0.1"]) == 3
    assert "the evaluation is invalid: Q12 fail (A huge budget breaks everything)" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "text"), [
    (["report.json"], "expected --require"), (["none.json", "--require", "ece<=1"], "none.json"),
    (["report.json", "--require", "eec<=1"], "did you mean 'ece'?"),
    (["report.json", "--require", "ece<=1", "--audit", "standard CN"], "did you mean 'standard CNN'?"),
    (["report.json", "--require", "ece<=1", "--base", "none"], "none"),
])  # fmt: skip
def test_wrong_gate_commands_are_one_line_and_write_nothing(in_folder, capsys, arguments, text):
    save(report(MODEL), "report.json")
    assert run(["gate", *arguments, "--junit", "gate.xml"]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert not Path("gate.xml").exists()
