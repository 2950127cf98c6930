"""`robustkit train`: settings from options and from TOML, what it writes, and one line for every mistake."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import types

import numpy as np
import pytest
import torch
from complaints import complaint
from nets import digits
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from robustkit.cli import run
from robustkit.defenses import create as create_objective
from robustkit.defenses.training import Diverged
from robustkit.defenses.training.state import TrainingState
from robustkit.model.small_models import create

QUICK = ["--data", "digits.npz", "--eps", "0.1", "--epochs", "2", "--val-steps", "2", "--lr", "0.02"]


@pytest.fixture
def folder(in_folder):
    x, y = digits(120)
    np.savez(in_folder / "digits.npz", images=(x[:, 0] * 255).round().byte().numpy(), labels=y.numpy())
    return in_folder


def settings(folder):
    with safe_open(folder / "robustkit-training" / "checkpoint.safetensors", "pt") as file:
        return json.loads(file.metadata()["robustkit"])["settings"]


def test_it_trains_tells_every_epoch_and_writes_weights_that_audit_takes(folder, capsys):
    assert run(["train", "mlp", *QUICK, "--objective", "trades:beta=2,steps=2"]) == 0
    out, err = capsys.readouterr()
    assert "trades:beta=2,steps=2 training of mlp, Linf 0.1" in out
    assert "(PGD, 12 samples held out)" in out
    assert "weights robustkit-training/weights.safetensors" in out
    lines = err.splitlines()
    assert [line[:11] for line in lines] == ["epoch   1/2", "epoch   2/2"]
    assert all("clean" in line and "robust" in line for line in lines)
    written = sorted(path.name for path in (folder / "robustkit-training").iterdir())
    assert written == ["checkpoint.safetensors", "log.csv", "log.jsonl", "training.html", "weights.safetensors"]
    weights = ["--weights", "robustkit-training/weights.safetensors", "--data", "digits.npz"]
    assert run(["audit", "mlp", *weights, "--eps", "0.1", "--attack", "fgsm", "--limit", "40", "--quiet"]) in (0, 3)


def test_every_setting_may_come_from_one_file_and_the_command_line_wins(folder, capsys):
    (folder / "train.toml").write_text(
        'model = "mlp"\ndata = "digits.npz"\nobjective = "pgd-at:steps=2"\neps = 0.1\nquiet = true\n'
        'epochs = 5\nlr = 0.02\nschedule = "step"\nmilestones = [0.5]\nval-steps = 2\nnesterov = true\n'
    )
    assert run(["train", "--config", "train.toml", "--epochs", "1", "--milestones", "0.25,0.5"]) == 0
    found = settings(folder)
    assert (found["model"], found["epochs"], found["lr"], found["schedule"]) == ("mlp", "1", "0.02", "step")
    assert found["milestones"] == "(0.25, 0.5)"
    assert found["nesterov"] == "True"
    assert "steps=2" in found["objective"]
    assert "eps='0.1'" in found["objective"]
    assert capsys.readouterr().err == ""


def test_a_run_in_two_parts_ends_with_the_same_weights(folder):
    common = ["train", "mlp", *QUICK, "--objective", "free:m=2", "--quiet"]
    assert run([*common, "--out", "straight"]) == 0
    assert run([*common, "--out", "parts", "--stop-after", "1"]) == 0
    assert run([*common, "--out", "parts", "--resume"]) == 0
    straight, parts = (load_file(folder / name / "weights.safetensors") for name in ("straight", "parts"))
    assert all(straight[name].equal(parts[name]) for name in straight)


def test_another_data_set_of_the_same_shape_works_with_the_same_line(folder):
    x, y = digits(60)
    np.savez(folder / "other.npz", x=1 - x.numpy(), y=(y.numpy() + 3) % 10)
    for data in ("digits.npz", "other.npz"):
        assert run(["train", "cnn", *QUICK, "--data", data, "--objective", "fgsm-rs", "--quiet", "--limit", "60"]) == 0


def test_transfer_starts_from_given_weights_and_replaces_the_head(folder):
    three = create("mlp", (1, 8, 8), 3, seed=5)
    save_file(three.state_dict(), folder / "three.safetensors")
    (folder / "mine.py").write_text(
        "from robustkit.model.small_models import create\ndef net():\n    return create('mlp', (1, 8, 8), 3)\n"
    )
    transfer = ["mine:net", "--weights", "three.safetensors", "--replace-head", "--head-epochs", "2"]
    assert run(["train", *transfer, *QUICK, "--objective", "standard", "--quiet"]) == 0
    weights = load_file(folder / "robustkit-training" / "weights.safetensors")
    assert weights["1.weight"].equal(three[1].weight)
    assert weights["5.weight"].shape == (10, 256)


def test_timm_models_are_built_where_timm_is_installed(folder, monkeypatch, capsys):
    fake = types.ModuleType("timm")
    fake.list_models = lambda: ["tiny"]
    fake.create_model = lambda name, pretrained, num_classes=1000: nn.Sequential(
        nn.Flatten(), nn.Linear(64, num_classes)
    )
    monkeypatch.setitem(sys.modules, "timm", fake)
    assert run(["train", "timm:tiny", *QUICK, "--replace-head", "--objective", "standard", "--quiet"]) == 0
    assert run(["train", "timm:tin", *QUICK]) == 2
    assert "did you mean 'tiny'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "timm", None)
    assert run(["train", "timm:tiny", *QUICK]) == 2
    assert "pip install timm" in capsys.readouterr().err


def test_what_a_guard_finds_is_said_on_standard_error_with_exit_code_3(folder, capsys):
    np.savez(folder / "blank.npz", images=np.zeros((80, 8, 8), dtype=np.uint8), labels=np.arange(80) % 10)
    common = ["train", "mlp", "--data", "blank.npz", "--objective", "standard", "--quiet"]
    assert run([*common, "--epochs", "4", "--lr", "1e-5", "--batch-size", "8"]) == 3
    out, err = capsys.readouterr()
    assert err.startswith("robustkit: not learning in epoch 4: mean loss 2.30")
    assert err.count("\n") == 1
    assert "not learning" in out


def test_divergence_is_one_line(folder, capsys):
    line = ["train", "mlp", *QUICK, "--optimizer", "sgd", "--lr", "1e30", "--schedule", "constant", "--quiet"]
    assert run(line) == Diverged.exit_code
    assert "expected a finite loss, got nan in epoch" in capsys.readouterr().err


def test_a_warm_up_of_a_paper_is_the_same_share_of_a_shorter_run(folder, capsys):
    said = "awp+trades begins after 0 of 2 epochs, in proportion to the 10 of 200 in its paper"
    assert run(["train", "mlp", *QUICK, "--objective", "awp+trades"]) == 0
    assert said in capsys.readouterr().err
    assert run(["train", "mlp", *QUICK, "--objective", "awp:warmup=1+trades"]) == 0
    assert "in proportion" not in capsys.readouterr().err
    assert "2 after which awp begins" in complaint(
        capsys, ["train", "mlp", *QUICK, "--objective", "awp:warmup=2+trades"]
    )
    assert [create_objective("awp+trades", epochs=epochs).warmup for epochs in (10, 100, 200, 300)] == [0, 5, 10, 10]


@pytest.mark.usefixtures("usual_signals")
def test_an_interrupt_keeps_the_last_batch_and_says_how_to_go_on(folder, monkeypatch, capsys):
    words, train_on, batches = ["train", "mlp", *QUICK, "--quiet"], TrainingState.train_on, []

    def interrupted(self, batch):
        batches.append(batch)
        if len(batches) == 2:
            signal.raise_signal(signal.SIGINT)
        train_on(self, batch)

    assert run([*words, "--out", "straight"]) == 0
    monkeypatch.setattr(TrainingState, "train_on", interrupted)
    assert run([*words, "--out", "broken"]) == 130
    err = capsys.readouterr().err
    assert err.startswith("robustkit: interrupted; what is finished is kept in 'broken'; resume with: robustkit train")
    assert len(batches) == 2
    assert run(shlex.split(err.partition("resume with: robustkit ")[2])) == 0
    straight, broken = (load_file(folder / name / "weights.safetensors") for name in ("straight", "broken"))
    assert all(straight[name].equal(broken[name]) for name in straight)


def test_an_interrupt_while_loading_says_nothing_that_is_not_so(folder, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("robustkit.cli.train.ModelOptions.load", interrupted)
    assert run(["train", "mlp", *QUICK, "--quiet", "--resume"]) == 130
    assert capsys.readouterr().err.strip() == "robustkit: interrupted"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objective", "trade"], "did you mean 'trades'"),
        (["--objective", "trades:betta=1"], "did you mean 'beta'"),
        (["--optimizer", "adamwx"], "optimizer"),
        (["--epochs", "0"], "expected epochs in 1..inf, got 0"),
        (["--milestones", "a,b"], "--milestones: expected comma-separated numbers"),
        (["--trackers", "comet"], "trackers: expected a known name"),
        (["--config", "bad.toml"], "did you mean 'epochs'"),
        (["--config", "none.toml"], "expected a TOML file"),
        (["--config", "type.toml"], "'1.5' is not a valid integer"),
        (["--eps", "300"], "Linf eps within the input range"),
    ],
)
def test_mistakes_are_one_line_with_exit_code_2(folder, capsys, words, message):
    (folder / "bad.toml").write_text("epoch = 3\n")
    (folder / "type.toml").write_text("epochs = 1.5\n")
    assert run(["train", "mlp", *(QUICK if "type.toml" not in words else QUICK[:4]), *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_labels_beyond_the_classes_are_refused(folder, capsys):
    assert run(["train", "mlp", *QUICK, "--classes", "4"]) == 3
    assert "labels: expected 0..3 for 4 classes, got 0..9" in capsys.readouterr().err


def test_the_help_tells_every_setting_with_its_default(capsys):
    assert run(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--ema-decay FLOAT Decay of ema per update. [default: 0.999]" in text
    assert "--milestones TEXT For step: where the rate falls, as shares of all epochs. [default: 0.5,0.75]" in text
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("line", ["limit = [1]", "weights = []", "out = {a = 1}", "resume = [1]", "eps = 1979-05-27",
                                  "x = " + "[" * 3000, "epochs = " + "9" * 5000, 'out = "a\\u0000"', "lr = inf",
                                  "lr = nan", "weight-decay = 1e400", "minutes = inf"])  # fmt: skip
def test_a_config_of_odd_types_and_numbers_is_one_line(folder, capsys, line):
    (folder / "odd.toml").write_text(line)
    assert complaint(capsys, ["train", "mlp", *QUICK[:4], "--config", "odd.toml"]).startswith("robustkit: ")


def test_an_interrupt_before_anything_is_written_does_not_speak_of_an_earlier_run(folder, monkeypatch, capsys):
    (folder / "robustkit-training").mkdir()
    (folder / "robustkit-training" / "checkpoint.safetensors").touch()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("robustkit.cli.shared.model_and_data.ModelOptions.load", interrupted)
    assert run(["train", "mlp", *QUICK]) == 130
    assert capsys.readouterr().err.strip() == "robustkit: interrupted"
    assert run(["train", "mlp", *QUICK, "--resume"]) == 130
    assert "what is finished is kept in 'robustkit-training'; resume with" in capsys.readouterr().err
