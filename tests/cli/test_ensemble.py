"""`robustkit ensemble`, and the file that stands for what it made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from complaints import complaint
from safetensors import safe_open

from robustkit.cli import run
from robustkit.defenses.ensemble import Ensemble
from robustkit.loading.model import load_model

DATA = ["--data", "digits.npz"]
TWO = ["--weights", "a.safetensors", "--weights", "b.safetensors", "--classes", "10"]
QUICK = ["--eps", "0.15", "--attack", "pgd:steps=4"]


@pytest.mark.slow
def test_ensemble_of_snapshots_is_written_shown_and_audited(two_weights, capsys):
    assert run(["ensemble", "cnn", *TWO, *DATA, *QUICK, "--rule", "hard_vote", "--out", "deep/er/two.json"]) == 0
    out = capsys.readouterr().out
    for words in ("1  cnn a.safetensors", "points made for", "none (clean)", "ensemble", "members disagree on"):
        assert words in out
    matrix = [line.split() for line in out.partition("none (clean)")[2].splitlines()[1:4]]
    first = [float(cell) for cell in out.partition("none (clean)")[2].split("\n")[0].split()]
    rows = {name: [float(cell) for cell in cells] for name, *cells in matrix}
    assert rows["ensemble"][2] <= min(rows["1"][2], rows["2"][2])
    written = json.loads(Path("deep/er/two.json").read_text())
    assert written["settings"] == {"rule": "hard_vote"}
    assert [part["weights"] for part in written["parts"]] == ["../../a.safetensors", "../../b.safetensors"]
    assert run(["audit", "deep/er/two.json", *DATA, *QUICK, "--probes", "0", "--out", "report"]) == 0
    audit = json.loads(Path("report/report.json").read_text())["audits"][0]
    assert audit["subject"]["architecture"] == "Ensemble"
    assert 100 * audit["worst_case"]["accuracy"]["value"] == pytest.approx(rows["ensemble"][2], abs=5)
    group = audit["ensemble"]
    assert (group["members"], group["combine"]) == (["member 1", "member 2"], "hard_vote")
    assert [100 * share["value"] for share in group["clean"]] == pytest.approx(list(first[:2]), abs=0.06)
    assert [group["transfer"][i][i] for i in (0, 1)] == [1, 1]
    assert 0 < group["transfer"][0][1] < 1
    page = Path("report/report.md").read_text()
    assert "Members, combined by hard\\_vote. Two members disagree on" in page
    assert "| | Accuracy | Under attack | breaks 1 | breaks 2 |" in page


@pytest.mark.slow
def test_members_are_trained_independently_by_one_command(two_weights, capsys):
    command = ["ensemble", "mlp", "--train", "2", "--epochs", "2", "--data", "digits", *QUICK, "--limit", "50"]
    assert run([*command, "--out", "out/both.json"]) == 0
    clean = capsys.readouterr().out.partition("none (clean)")[2].split("\n")[0].split()
    assert min(map(float, clean)) > 60
    first, second = (load_model("mlp", f"out/both-{n}.safetensors", (1, 8, 8), 10).state_dict() for n in (1, 2))
    assert not torch.equal(first["1.weight"], second["1.weight"])
    assert isinstance(load_model("out/both.json"), Ensemble)
    before = Path("out/both-2.safetensors").read_bytes()
    run([*command, "--out", "out/both.json"])
    assert Path("out/both-2.safetensors").read_bytes() == before
    npz = ["ensemble", "mlp", "--train", "2", *DATA, "--classes", "10"]
    assert "expected data with a training split" in complaint(capsys, npz)
    assert "expected one architecture" in complaint(capsys, ["ensemble", "mlp", "cnn", *command[2:]])


def read_metadata(file):
    with safe_open(file, "pt") as opened:
        return opened.metadata()["robustkit"]


def weights(*names):
    return [Path(f"{name}.safetensors").read_bytes() for name in names]


def test_members_are_trained_by_any_objective_and_recipe_and_a_stopped_command_is_resumed(in_folder, capsys):
    Path("plan.toml").write_text("lr = 0.02\nval_steps = 1\nval_limit = 20\n")
    command = ["ensemble", "mlp", "--train", "2", "--data", "digits", *QUICK, "--limit", "20", "--config", "plan.toml"]
    command += ["--objective", "awp+fgsm-rs", "--epochs", "2", "--quiet"]
    assert run([*command, "--out", "whole.json"]) == 0
    assert '"lr": "0.02"' in read_metadata("whole-2-run/weights.safetensors")
    assert run([*command, "--stop-after", "1", "--out", "part.json"]) == 0
    assert weights("part-1", "part-2") != weights("whole-1", "whole-2")
    assert run([*command, "--resume", "--out", "part.json"]) == 0
    assert weights("part-1", "part-2") == weights("whole-1", "whole-2")


def test_members_are_the_cycles_of_one_run(in_folder, capsys):
    command = ["ensemble", "mlp", "--train", "2", "--cycles", "--data", "digits", *QUICK, "--limit", "20", "--quiet"]
    assert run([*command, "--epochs", "2", "--val-limit", "20", "--out", "both.json"]) == 0
    log = [json.loads(line) for line in Path("both-run/log.jsonl").read_text().splitlines()]
    assert [line["number"] for line in log if "number" in line] == [1, 2]
    first, second = weights("both-1", "both-2")
    assert first != second
    Path("both-2.safetensors").unlink()  # killed before it was written
    assert run([*command, "--epochs", "2", "--val-limit", "20", "--resume", "--out", "both.json"]) == 0
    assert weights("both-1", "both-2") == [first, second]
    assert "a multiple of --train 2, got 3; use 4" in complaint(capsys, [*command, "--epochs", "3"])
    assert "expected --train with" in complaint(capsys, ["ensemble", "mlp", *TWO, *DATA, "--cycles"])


def test_weights_of_an_ensemble_are_fitted_on_the_half_that_does_not_judge(two_weights, capsys):
    assert run(["ensemble", "cnn", *TWO, *DATA, *QUICK, "--rule", "weighted"]) == 0
    assert "on 30 samples" in capsys.readouterr().out
    weights = json.loads(Path("ensemble.json").read_text())["settings"]["weights"]
    assert sum(weights) == pytest.approx(1)
    assert weights[0] != weights[1]
    model = load_model("ensemble.json")
    assert model.weights.tolist() == pytest.approx(weights)
    assert not model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ensemble", "cnn", *TWO, *DATA, "--rule", "hardvote"], "did you mean 'hard_vote'"),
        (["ensemble", "cnn", "--weights", "a.safetensors", "--classes", "10", *DATA], "two or more members"),
        (["ensemble", "cnn", "cnn", "mlp", *TWO, *DATA], "expected one for each of 3 models, got 2"),
        (["ensemble", "cnn", *TWO, *DATA, "--eps", "big"], "eps"),
    ],
)
def test_mistakes_are_one_line(two_weights, capsys, arguments, message):
    assert message in complaint(capsys, arguments)
