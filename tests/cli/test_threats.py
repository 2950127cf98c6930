"""Several threat models in one audit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from complaints import complaint

from robustkit.cli import run

MODEL = ["nets_of_mine:cnn", "--weights", "cnn.safetensors", "--data", "digits.npz"]
AUDIT = ["audit", *MODEL, "--probes", "0", "--first", "12", "--eps", "0.1", "--attack", "pgd:steps=2"]


def test_an_audit_of_several_threat_models_has_a_number_for_each_and_one_for_all(case, capsys):
    assert run([*AUDIT, "--threat", "L2:0.5", "--threat", "L1:2"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "worst case over Linf 0.1, L2 0.5, L1 2: " in said
    report = json.loads(Path("robustkit-report/report.json").read_text())
    assert report["across"]["threats"] == ["Linf 0.1", "L2 0.5", "L1 2"]
    assert [audit["threat"]["norm"] for audit in report["audits"]] == ["Linf", "L2", "L1"]
    assert "Several threat models" in Path("robustkit-report/report.html").read_text()
    assert run(["verify", "robustkit-report", "--model", *MODEL]) == 0


def test_a_mask_is_that_of_every_threat_model(case):
    np.save("mask.npy", np.arange(64).reshape(1, 8, 8) % 4 > 0)
    assert run([*AUDIT, "--mask", "mask.npy", "--threat", "L2:0.5", "--first", "4"]) == 0
    audits = json.loads(Path("robustkit-report/report.json").read_text())["audits"]
    assert [audit["threat"]["eps_per_coordinate"]["values"].count(0.0) for audit in audits] == [16, 16]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--threat", "L2"], "--threat: expected a norm and its eps such as L2:0.5, got 'L2'"),
        (["--threat", "Linf:0.10"], "expected distinct threat models"),
        (["--threat", "L2:0.5", "--shard", "1/2"], "audit each threat model by itself"),
        (["--threat", "L5:0.5"], "expected a norm among"),
    ],
)
def test_what_cannot_be_meant_ends_in_one_line(case, capsys, options, said):
    assert said in complaint(capsys, [*AUDIT, *options])
