"""`robustkit rerun`: the command of a report once more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from complaints import complaint

from robustkit.cli import run

AUDIT = "audit mlp --data digits --eps 0.05 --limit 12 --attack fgsm --probes 0 --out first --quiet"


def test_an_audit_comes_out_the_same_and_a_change_is_seen(in_folder, capsys, monkeypatch):
    run(AUDIT.split())
    capsys.readouterr()
    assert run(["rerun", "first", "--yes", "--out", "second"]) == 0
    out = capsys.readouterr().out
    assert "--eps 0.05 --limit 12 --attack fgsm --probes 0 --quiet --out second" in out
    assert "the same: every row" in out
    ledger = Path("first/ledger.csv")
    ledger.write_text(ledger.read_text().replace("0.", "1.", 1))
    assert run(["rerun", "first", "--yes", "--out", "third"]) == 1
    assert "robustkit compare first third" in capsys.readouterr().out
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda *_: "n")
    assert run(["rerun", "first", "--out", "fourth"]) == 130
    assert not Path("fourth").exists()


@pytest.mark.parametrize("recorded", ["robustkit gate first", "rm -rf /", "audit x", None])
def test_only_commands_that_write_reports_run_again(recorded, in_folder, capsys):
    run(AUDIT.split())
    tree = json.loads(Path("first/report.json").read_text())
    Path("first/report.json").write_text(json.dumps({**tree, "command": recorded}))
    capsys.readouterr()
    assert "expected a report of `robustkit audit or demo or ensemble`" in complaint(
        capsys, ["rerun", "first", "--yes"]
    )
    assert complaint(capsys, ["rerun", "first", "--yes", "--out", "first"])
