"""`robustkit calibrate`, and the file that stands for what it made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from complaints import complaint
from nets import digits
from torch import nn

from robustkit.cli import run
from robustkit.defenses.calibrators import CALIBRATORS
from robustkit.loading.model import load_model

DATA = ["--data", "digits.npz"]
TWO = ["--weights", "a.safetensors", "--weights", "b.safetensors", "--classes", "10"]
QUICK = ["--eps", "0.15", "--attack", "pgd:steps=4"]


@pytest.mark.parametrize("method", CALIBRATORS)
def test_a_calibrated_model_is_written_and_loaded_again(two_weights, capsys, method):
    model = ["cnn", "--weights", "b.safetensors", "--classes", "10", "--mean", "0.1", "--std", "0.5"]
    assert run(["calibrate", *model, *DATA, "--method", method]) == 0
    out = capsys.readouterr().out
    before, after = (next(line for line in out.splitlines() if line.startswith(f"  {n}")) for n in ("before", method))
    assert "on 30 samples, calibrated on 30 others" in out
    if CALIBRATORS[method].keeps_answers:
        assert before.split()[1] == after.split()[1]
    assert ("temperature 0." in out or "temperature 1." in out) == (method == "temperature")
    x, _ = digits(20)
    again = load_model("calibrated.json")
    twin = load_model("cnn", "b.safetensors", (1, 8, 8), 10).eval()
    settings = json.loads(Path("calibrated.json").read_text())["settings"]
    expected = CALIBRATORS[method](nn.Sequential(Shift(), twin), **settings)
    torch.testing.assert_close(again(x), expected(x))


class Shift(nn.Module):
    def forward(self, x):
        return (x - 0.1) / 0.5


def test_a_calibrated_ensemble_is_a_model_too(two_weights, capsys):
    run(["ensemble", "cnn", *TWO, *DATA, *QUICK, "--limit", "20"])
    assert run(["calibrate", "ensemble.json", *DATA, "--out", "made/calibrated.json"]) == 0
    assert run(["audit", "made/calibrated.json", *DATA, *QUICK, "--probes", "0", "--limit", "20"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["calibrate", "cnn", *TWO[:2], *TWO[4:], *DATA, "--method", "platt"], "isotonic, temperature, vector"),
        (["calibrate", "cnn", *TWO[:2], *TWO[4:], *DATA, "--fit-share", "1"], "on both sides, got 60"),
    ],
)
def test_mistakes_are_one_line(two_weights, capsys, arguments, message):
    assert message in complaint(capsys, arguments)
