"""`robustkit doctor`."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from robustkit.cli import run

AUDIT = ["audit", "nets_of_mine:cnn", "--weights", "cnn.safetensors", "--data", "digits.npz"]


def test_doctor_prints_its_findings(case, capsys):
    assert run(["doctor", *AUDIT[1:]]) == 0
    out = capsys.readouterr().out
    for id in ("Q02", "Q03", "Q04", "Q05", "Q06", "Q07"):
        assert id in out


def test_a_set_of_weights_is_chosen_and_what_changed_about_its_names_is_said(case, capsys):
    weights = load_file("cnn.safetensors")
    both = {"raw": {k: v + 1 for k, v in weights.items()}, "ema": {f"net.{k}": v for k, v in weights.items()}}
    torch.save(both, "both.pt")
    arguments = ["doctor", "nets_of_mine:cnn", "--weights", "both.pt", "--data", "digits.npz"]
    assert run(arguments) == 2
    assert "choose with --weights-key raw or ema" in capsys.readouterr().err
    assert run([*arguments, "--weights-key", "ema"]) == 0
    assert capsys.readouterr().err == f"weights: the prefix 'net.' was taken off all {len(weights)} names\n"
