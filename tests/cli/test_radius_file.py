"""An eps for each value of an input, and a mask, from files of numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from complaints import complaint

from robustkit.cli import run

AUDIT = ["audit", "nets_of_mine:cnn", "--weights", "cnn.safetensors", "--data", "digits.npz", "--probes", "0"]
EPS = np.linspace(0.05, 0.2, 64).reshape(1, 8, 8)


def test_an_audit_takes_both_reports_them_and_verifies(case, capsys):
    mask = np.arange(64).reshape(1, 8, 8) % 4 > 0
    np.save("eps.npy", EPS)
    np.save("mask.npy", mask)
    few = ["--first", "8", "--curve", "0.3", "--minimal", "--attack", "pgd:steps=2"]
    assert run([*AUDIT, "--eps", "eps.npy", "--mask", "mask.npy", *few]) == 0
    assert "Linf 0.0523" in " ".join(capsys.readouterr().out.split())
    (audit,) = json.loads(Path("robustkit-report/report.json").read_text())["audits"]
    assert audit["threat"]["eps_per_coordinate"] == {"values": (EPS * mask).ravel().tolist(), "shape": [1, 8, 8]}
    assert "; 16 of 64 pixel values are fixed; pixel values range" in Path("robustkit-report/report.md").read_text()
    assert run(["verify", "robustkit-report", "--model", "nets_of_mine:cnn", "--weights", "cnn.safetensors",
                "--data", "digits.npz", "--attack-again", "2"]) == 0  # fmt: skip


@pytest.mark.parametrize(
    ("write", "options", "said"),
    [
        (lambda: None, ["--eps", "eps.npy"], "--eps 'eps.npy': expected an array in a .npy file, got"),
        (lambda: Path("eps.npy").write_text("0.1, 0.2"), ["--eps", "eps.npy"], "write it with numpy.save"),
        (lambda: np.save("eps.npy", np.array([{}])), ["--eps", "eps.npy"], "write it with numpy.save"),
        (lambda: np.save("eps.npy", EPS - 0.1), ["--eps", "eps.npy"], "eps: expected numbers >= 0"),
        (lambda: np.save("m.npy", EPS), ["--mask", "m.npy"], "expected mask to hold True where an input may change"),
        (lambda: np.save("m.npy", np.arange(9) > 3), ["--mask", "m.npy"], "broadcast to an input of shape (1, 8, 8)"),
    ],
)
def test_a_file_that_is_neither_ends_in_one_line(case, capsys, write, options, said):
    write()
    assert said in complaint(capsys, [*AUDIT, "--attack", "fgsm", *options])
