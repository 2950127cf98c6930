"""`robustkit doctor`."""

from __future__ import annotations

from robustkit.cli import run

AUDIT = ["audit", "nets_of_mine:cnn", "--weights", "cnn.safetensors", "--data", "digits.npz"]


def test_doctor_prints_its_findings(case, capsys):
    assert run(["doctor", *AUDIT[1:]]) == 0
    out = capsys.readouterr().out
    for id in ("Q02", "Q03", "Q04", "Q05", "Q06", "Q07"):
        assert id in out
