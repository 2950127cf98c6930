"""Tables on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from complaints import complaint

from robustkit.cli import run

AUDIT = ["audit", "mlp", "--data", "table.csv", "--eps", "0.05", "--attack", "fgsm", "--probes", "0", "--quiet"]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Works in a folder with a table of three features in -1..2 and two classes by name."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    rows = [f"{a:.4f},{b:.4f},{c:.4f},{'yes' if a > b else 'no'}" for a, b, c in random.uniform(-1, 2, (30, 3))]
    Path("table.csv").write_text("\n".join(["a,b,c,bought", *rows]) + "\n")


def test_a_table_with_text_labels_is_audited_and_verified(table):
    run([*AUDIT, "--label-column", "bought", "--bounds=-1,2"])
    (audit,) = json.loads(Path("robustkit-report/report.json").read_text())["audits"]
    assert audit["data"]["input_shape"] == [3]
    assert "features are the 3 columns a, b, c" in audit["data"]["notes"][0]
    assert audit["subject"]["class_names"] == ["no", "yes"]
    assert run(["verify", "robustkit-report", "--data", "table.csv"]) == 0


def test_what_is_missing_is_one_line_with_what_to_type(table, capsys):
    assert "name it: --label-column" in complaint(capsys, AUDIT)
    assert "--bounds=-1,2" in complaint(capsys, [*AUDIT, "--label-column", "bought"])
