"""The folder of a run: what is in it, and which checkpoint may be resumed."""

from __future__ import annotations

import csv
import json

import pytest
from objective_rows import EVERY
from safetensors.torch import load_file
from tiny_training import TINY, data, net, same

from robustkit.base.errors import ConfigurationError
from robustkit.defenses import Standard, fit
from robustkit.defenses.training import checkpoint
from robustkit.model.classifier import Classifier
from robustkit.model.weights import load_weights


def test_a_checkpoint_of_another_run_is_refused(trained, tmp_path):
    trained(Standard(), epochs=2, stop_after=1, folder=tmp_path)
    again = {"epochs": 2, "folder": tmp_path, "resume": True}
    with pytest.raises(ConfigurationError, match=r"expected lr '0.02' as in .* got '0.5'"):
        trained(Standard(), **{**again, "lr": 0.5})
    with pytest.raises(ConfigurationError, match="expected objective"):
        trained(Standard(label_smoothing=0.1), **again)
    with pytest.raises(ConfigurationError, match="plan all epochs at once and pause with stop_after"):
        trained(Standard(), **{**again, "epochs": 3})
    model = Classifier(net())
    x, y = data()
    with pytest.raises(ConfigurationError, match="data_sha256"):
        fit(model, x * 0.9, y, Standard(), folder=tmp_path, resume=True, epochs=2, **TINY)
    with pytest.raises(ConfigurationError, match="expected a file to resume from"):
        trained(Standard(), epochs=2, folder=tmp_path / "other", resume=True)
    with pytest.raises(ConfigurationError, match="expected a folder to resume from"):
        trained(Standard(), epochs=2, resume=True)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half a file")
    with pytest.raises(ConfigurationError, match="one of robustkit's"):
        trained(Standard(), **again)


def test_a_run_with_a_constant_rate_may_be_made_longer(trained, tmp_path):
    straight, _ = trained(Standard(), epochs=4, schedule="constant")
    trained(Standard(), epochs=2, schedule="constant", folder=tmp_path)
    assert same(trained(Standard(), epochs=4, schedule="constant", folder=tmp_path, resume=True)[0], straight)


def test_the_folder_holds_weights_settings_and_a_log(trained, tmp_path):
    weights, result = trained(EVERY["pgd-at"], epochs=2, folder=tmp_path, about={"model": "mine"})
    other = net()
    load_weights(other, tmp_path / "weights.safetensors")
    assert same(other.state_dict(), weights)
    from safetensors import safe_open

    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:
        settings = json.loads(file.metadata()["robustkit"])["settings"]
    assert settings["model"] == "mine"
    assert settings["lr"] == "0.02"
    assert "steps=2" in settings["objective"]
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row["number"] for row in rows] == ["1", "2"]
    assert float(rows[1]["robust"]) == result.epochs[1].figures.robust
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines[:2]] == [epoch.loss for epoch in result.epochs]


@pytest.mark.parametrize("free", [{"minutes": 9.0}, {"save_minutes": 0.0}, {"on_catastrophic": "ignore"}])
def test_what_changes_no_weight_may_differ_on_resuming(trained, tmp_path, free):
    straight, _ = trained(Standard(), epochs=2)
    trained(Standard(), epochs=2, stop_after=1, folder=tmp_path)
    assert same(trained(Standard(), epochs=2, folder=tmp_path, resume=True, **free)[0], straight)


def test_a_run_with_averages_over_late_epochs_may_not_be_made_longer(trained, tmp_path):
    trained(Standard(), epochs=2, schedule="constant", average="swa", folder=tmp_path)
    with pytest.raises(ConfigurationError, match="plan all epochs at once"):
        trained(Standard(), epochs=4, schedule="constant", average="swa", folder=tmp_path, resume=True)


def test_without_a_folder_nothing_is_written(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(Standard(), epochs=1, save_minutes=0)
    assert not list(tmp_path.iterdir())


def test_the_weights_in_the_folder_are_those_of_the_best_epoch(trained, tmp_path):
    weights, result = trained(EVERY["pgd-at"], epochs=6, folder=tmp_path, lr=0.1)
    assert result.best.number < 6
    assert same(load_file(tmp_path / "weights.safetensors"), weights)


def test_seconds_go_on_after_resuming(trained, tmp_path):
    _, first = trained(Standard(), epochs=2, stop_after=1, folder=tmp_path)
    _, both = trained(Standard(), epochs=2, folder=tmp_path, resume=True)
    assert both.epochs[0].seconds == first.epochs[0].seconds
    assert both.epochs[1].seconds > first.epochs[0].seconds


def test_weights_are_written_anew_only_where_they_are_better(trained, tmp_path, monkeypatch):
    written, write = [], checkpoint.write
    monkeypatch.setattr(checkpoint, "write", lambda path, *rest: (written.append(path.name), write(path, *rest)))
    trained(EVERY["pgd-at"], epochs=3, lr=1e-12, folder=tmp_path)  # no epoch is better than the first
    assert written.count("weights.safetensors") == 1
    written.clear()
    trained(EVERY["pgd-at"], epochs=3, select="last", folder=tmp_path)
    assert written.count("weights.safetensors") == 3
