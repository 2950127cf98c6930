"""`robustkit plan`: the sizes it prints, and what they cost."""

from __future__ import annotations

import pytest
from nets import digits_cnn
from safetensors.torch import save_file

from robustkit.cli import run


def test_the_plan_prints_the_tabled_sizes(capsys):
    assert run(["plan"]) == 0
    assert "2,398" in capsys.readouterr().out
    assert run(["plan", "--half-width", "5%", "--per-class", "10", "--expect", "0.5"]) == 0
    assert "3,810" in capsys.readouterr().out  # 10 classes of 381
    assert run(["plan", "--difference", "2%"]) == 0
    out = capsys.readouterr().out
    assert [size in out for size in ("979", "1,960", "3,923", "2,398")] == [True, True, True, False]
    assert run(["plan", "--require", "robust_accuracy>=0.45", "--expect", "47%", "--expect", "45%"]) == 0
    out = capsys.readouterr().out
    assert "1,727" in out
    assert "no number" in out


@pytest.mark.parametrize(("arguments", "text"), [
    (["--half-width", "70%"], "half-width in (0, 0.5)"), (["--half-width", "wide"], "such as 2%"),
    (["--difference", "20%", "--discordance", "10%"], "difference <= discordance"),
    (["--require", "ece<=0.1"], "requirements on accuracies"), (["--expect", "150%"], "share in [0, 1]"),
    (["cnn"], "MODEL and --data together"),
])  # fmt: skip
def test_a_plan_that_cannot_be_made_is_refused(capsys, arguments, text):
    assert run(["plan", *arguments]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


def test_a_plan_for_a_model_forecasts_passes_and_time(in_folder, capsys):
    save_file(digits_cnn().state_dict(), "cnn.safetensors")
    arguments = [
        "plan",
        "cnn",
        "--weights",
        "cnn.safetensors",
        "--data",
        "digits",
        "--half-width",
        "10%",
        "--expect",
        "0.5",
        "--probe",
        "0.1s",
        "--eps",
        "0.3",
    ]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert "Cost of fast, Linf 0.3 on this machine, from 16 samples" in out
    assert "backward passes" in out
