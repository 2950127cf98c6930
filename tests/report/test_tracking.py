"""An audit as a run of MLflow, Weights & Biases and TensorBoard."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from report_examples import audit, report

from robustkit.base.errors import ConfigurationError
from robustkit.report import log_report, save
from robustkit.report.requirements.measures import measures

MODEL = audit("standard CNN", 0.62, gallery=0)
SHOWN = {"robust_accuracy_Linf_8_255": measures(MODEL)["robust_accuracy"].value}


@pytest.fixture
def saved(in_folder) -> Path:
    save(report(MODEL), "report.json")
    Path("report.html").write_text("<p>")
    return in_folder


def test_metrics_are_named_for_what_was_measured_and_have_the_bounds_of_requirements(saved, monkeypatch):
    mlflow = MagicMock()
    mlflow.active_run.return_value = None
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    figures = log_report(saved, "mlflow")
    found = measures(MODEL)
    for name in ("robust_accuracy", "ece_attacked"):
        ends = [figures[f"{name}_Linf_8_255{end}"] for end in ("", "_low", "_high")]
        assert ends == [found[name].value, found[name].low, found[name].high]
    assert figures["clean_accuracy"] == MODEL.clean.value
    assert {"ece", "ece_low", "ece_high"} <= figures.keys()
    assert all(name.isidentifier() for name in figures)
    (said,) = mlflow.log_params.call_args.args
    assert (said["norm"], said["eps"], said["protocol"]) == ("Linf", "8/255", "autoattack")
    assert said["fingerprint"] == MODEL.method.fingerprint
    mlflow.log_metrics.assert_called_once_with(figures)
    assert [Path(call.args[0]).name for call in mlflow.log_artifact.call_args_list] == ["report.json", "report.html"]
    mlflow.start_run.assert_called_once_with(run_name="standard CNN")


def test_an_active_run_is_used_and_left_open(saved, monkeypatch):
    mlflow, wandb = MagicMock(), MagicMock()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    log_report(saved, "mlflow")
    log_report(saved / "report.json", "wandb")
    mlflow.start_run.assert_not_called()
    wandb.init.assert_not_called()
    (figures,) = wandb.run.summary.update.call_args.args
    assert figures.items() >= SHOWN.items()
    wandb.run.log_artifact.assert_called_once()
    wandb.run.finish.assert_not_called()


def test_mlflow_itself_keeps_metrics_and_the_report(saved, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow, which is in the extra tracking")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((saved / "runs").as_uri())
    with mlflow.start_run() as run:
        log_report(saved, "mlflow")
    kept = mlflow.MlflowClient().get_run(run.info.run_id).data
    assert kept.metrics.items() >= SHOWN.items()
    assert kept.params["eps"] == "8/255"
    assert len(mlflow.MlflowClient().list_artifacts(run.info.run_id, "robustkit")) == 2


def test_wandb_itself_takes_a_run_offline(saved, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs wandb, which is in the extra tracking")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log_report(saved, "wandb")
    assert wandb.run is None
    assert list(saved.glob("wandb/offline-run-*/*.wandb"))


def test_tensorboard_itself_gets_every_figure(saved):
    written = "tensorboard.backend.event_processing.event_accumulator"
    reader = pytest.importorskip(written, reason="needs tensorboard, which is in the extra tracking")
    figures = log_report(saved, "tensorboard")
    (folder,) = Path("runs").iterdir()
    events = reader.EventAccumulator(str(folder)).Reload()
    assert {*events.Tags()["scalars"]} == figures.keys()


def test_what_cannot_be_logged_is_one_line(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigurationError, match="log_report: expected mlflow to be installed; pip install mlflow"):
        log_report(saved, "mlflow")
    with pytest.raises(ConfigurationError, match="did you mean 'mlflow'"):
        log_report(saved, "mlfow")
    save(report(MODEL, audit("second", 0.3, gallery=0)), "report.json")
    with pytest.raises(ConfigurationError, match="name: expected the name of one of the models"):
        log_report(saved, "mlflow")
