"""What others run from this repository: the GitHub Action and the hook for pre-commit."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from report_examples import audit, report

from robustkit.cli import run
from robustkit.report import save

ROOT = Path(__file__).parent.parent
MODEL = audit("standard CNN", 0.62, names=tuple("abcd"), gallery=0)
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
FIRST, GATE = ACTION["runs"]["steps"]


def act(step: dict, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Runs the script of a step as a runner does: inputs put into `env`, and nothing of them into the script."""
    given = {name: each["default"] for name, each in ACTION["inputs"].items()} | inputs

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], text)

    robustkit = folder / "bin" / "robustkit"
    robustkit.parent.mkdir(exist_ok=True)
    robustkit.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m robustkit "$@"\n')
    robustkit.chmod(0o755)
    assert "${{" not in step["run"]
    environment = {
        **os.environ,
        "PATH": f"{robustkit.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_OUTPUT": str(folder / "output"),
        **{name: filled(value) for name, value in step.get("env", {}).items()},
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_action_gates_a_report_and_writes_summary_and_files(tmp_path):
    save(report(MODEL, audit("second", 0.05, names=tuple("abcd"))), tmp_path / "report.json")
    rules = "robust_accuracy>=0.1\n\n  clean_accuracy >= 10%\n"
    done = act(GATE, tmp_path, report=".", require=rules, audit="standard CNN", base="report.json")
    assert done.returncode == 0, done.stderr
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("## Robustness gate: met\n")
    assert "= 10%" in summary
    assert "| Figure | Base | Now | Change |" in summary
    assert (tmp_path / "output").read_text() == "exit-code=0\n"
    assert {ACTION["inputs"][name]["default"] for name in ("junit", "sarif")} <= {p.name for p in tmp_path.iterdir()}


def test_the_action_fails_where_a_requirement_is_not_met(tmp_path):
    save(report(MODEL), tmp_path / "report.json")
    done = act(GATE, tmp_path, report="report.json", require="robust_accuracy>=0.9")
    assert (done.returncode, (tmp_path / "output").read_text()) == (1, "exit-code=1\n")
    assert (tmp_path / "summary.md").read_text().startswith("## Robustness gate: not met\n")


def test_the_action_runs_no_input_as_a_command(tmp_path):
    save(report(MODEL), tmp_path / "report.json")
    done = act(GATE, tmp_path, report="report.json", require="$(touch a)`touch b`>=0\n; touch c >=0")
    assert done.returncode == 2
    assert not [name for name in "abc" if (tmp_path / name).exists()]


def test_the_action_installs_nothing_where_robustkit_is(tmp_path):
    done = act(FIRST, tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/bin/robustkit\n")


def test_every_input_of_the_action_is_used_and_described():
    used = re.findall(r"inputs\.([\w-]+)", (ROOT / "action.yml").read_text())
    assert {*used} == ACTION["inputs"].keys()
    assert all(each["description"] for each in (*ACTION["inputs"].values(), *ACTION["outputs"].values()))
    assert all(step["shell"] == "bash" for step in ACTION["runs"]["steps"])


@pytest.mark.parametrize(("limit", "code"), [("0.1", 0), ("0.9", 1)])
def test_the_hook_for_pre_commit_is_the_gate(in_folder, limit, code):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert {"id", "name", "entry", "language"} <= hook.keys()
    assert re.search(hook["files"], "robustkit-report/report.json")
    assert not re.search(hook["files"], "my-report.json")
    assert hook["pass_filenames"] is False
    save(report(MODEL), "report.json")
    program, *words = shlex.split(hook["entry"])
    assert program == "robustkit"
    assert run([*words, "report.json", "--require", f"robust_accuracy>={limit}"]) == code
