"""`robustkit selftest`: the table, the planted test of a model of one's own, and its exit codes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from nets import write_digits

from robustkit.attacks import ATTACKS
from robustkit.cli import run

FACTORY = """
from safetensors.torch import load_file
from torch import nn
from robustkit.model.small_models import create

class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = create("cnn", (1, 8, 8), 10)
        self.net.load_state_dict(load_file("cnn.safetensors"))

    def forward(self, x):
        return self.net((x * 7).round() / 7)
"""


@pytest.fixture
def case(in_folder: Path) -> Path:
    """A folder with a trained network, the same behind eight grey levels, and 40 digits."""
    write_digits(in_folder, 40)
    (in_folder / "selftest_nets.py").write_text(FACTORY)
    yield in_folder
    sys.modules.pop("selftest_nets", None)


HONEST = ["selftest", "cnn", "--classes", "10", "--weights", "cnn.safetensors", "--data", "digits.npz"]
MASKED = ["selftest", "selftest_nets:Steps", "--data", "digits.npz"]
QUICK = ["--attack", "pgd:steps=10", "--eps", "0.1", "--samples", "4"]


def rows(out: str) -> dict[tuple[str, ...], str]:
    """Returns the lines of the first table by attack and norm."""
    lines = [line.split() for line in out.splitlines()[2:] if line.strip()]
    return {(line[0], line[1]): " ".join(line[2:]) for line in lines}


@pytest.mark.slow
def test_without_arguments_every_attack_is_checked_in_every_norm_and_passes(capsys):
    assert run(["selftest"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    found = rows(captured.out)
    for name, kind in ATTACKS.items():
        for norm in kind.norms if name != "transfer" else ():
            assert any(label.startswith(name) and in_norm == norm for label, in_norm in found), (name, norm)
    assert found["noise", "L2"] == "0 of 16, optional 0 of 16 pass"
    assert found["pgd", "L1"] == "16 of 16 at 1.02x 0 of 16 pass"
    assert found["square", "Linf"] == "16 of 16 at 2x 0 of 16 pass"
    assert all(line.endswith("pass") for line in found.values())


def test_an_attack_too_weak_is_named_and_the_exit_code_is_3(capsys):
    assert run(["selftest", "--attack", "fgsm", "--attack", "pgd:steps=1", "--norm", "L2", "--eps", "0.5"]) == 3
    captured = capsys.readouterr()
    assert captured.err == "robustkit: selftest: not passed: pgd L2\n"
    assert list(rows(captured.out)) == [("fgsm", "L2"), ("pgd", "L2")]


def test_an_honest_model_passes(case, capsys):
    assert run([*HONEST, *QUICK]) == 0
    out = capsys.readouterr().out
    assert "cnn on digits.npz, Linf 0.1: one planted adversarial example per sample" in out
    assert "together                        4 of 4   pass" in out


def test_a_masked_model_fails_with_pgd(case, capsys):
    assert run([*MASKED, *QUICK]) == 3
    captured = capsys.readouterr()
    assert "together                        0 of 4   fail" in captured.out
    assert captured.err.startswith(
        "robustkit: selftest: not passed: planted adversarial examples in selftest_nets:Steps (0 of 4 "
    )
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(("arguments", "got"), [
    (["cnn"], "MODEL"),
    (["--data", "digits.npz"], "--data"),
    (["cnn", "--weights", "cnn.safetensors"], "--weights, MODEL"),
    (["--batch-size", "4"], "--batch-size"),
])  # fmt: skip
def test_model_and_data_come_together_or_not_at_all(case, capsys, arguments, got):
    assert run(["selftest", *arguments]) == 2
    expected = f"robustkit: expected MODEL and --data together, got only {got}; give both or neither\n"
    assert capsys.readouterr().err == expected


def test_other_commands_still_need_both(case, capsys):
    assert run(["doctor"]) == 2
    assert capsys.readouterr().err == "robustkit: Missing argument 'MODEL'.\n"
    assert run(["doctor", "cnn"]) == 2
    assert capsys.readouterr().err == "robustkit: Missing option '--data'.\n"


@pytest.mark.parametrize(("arguments", "text"), [
    (["--attack", "pdg"], "did you mean 'pgd'"),
    (["--attack", "pgd", "--attack", "pgd"], "expected distinct attacks"),
    (["--attack", "pgd:eps=0"], "expected an attack with eps > 0"),
])  # fmt: skip
def test_wrong_attacks_are_refused_in_one_line(capsys, arguments, text):
    assert run(["selftest", *arguments]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
