"""The log of a run, and trackers."""

from __future__ import annotations

import json
import sys
import types
import warnings
from typing import ClassVar

import pytest
from objective_rows import EVERY

from robustkit.base.errors import ConfigurationError
from robustkit.defenses import Standard
from robustkit.defenses.training import Epoch, Figures, Finding
from robustkit.defenses.training.log import write_log


class FakeWriter:
    calls: ClassVar[list[tuple]] = []

    def __init__(self, folder):
        pass

    def add_text(self, *arguments):
        self.calls.append(arguments)

    def add_scalar(self, *arguments):
        self.calls.append(arguments)

    def flush(self):
        pass


def test_trackers_hear_of_every_epoch_or_are_asked_for_in_one_line(trained, monkeypatch, tmp_path):
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = FakeWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    _, result = trained(EVERY["pgd-at"], epochs=2, trackers=("tensorboard",), folder=tmp_path)
    assert ("loss", result.epochs[1].loss, 2) in FakeWriter.calls
    assert ("robust", result.epochs[0].figures.robust, 1) in FakeWriter.calls
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigurationError, match="expected mlflow to be installed; pip install mlflow"):
        trained(Standard(), trackers=("mlflow",))
    with pytest.raises(ConfigurationError, match="did you mean 'mlflow'"):
        trained(Standard(), trackers=("mflow",))


@pytest.mark.slow
@pytest.mark.parametrize(("tracker", "left"), [("wandb", "wandb/offline-run-*/*.wandb"), ("tensorboard", "events*")])
def test_real_trackers_leave_their_files(trained, monkeypatch, tmp_path, tracker, left):
    pytest.importorskip(tracker, reason=f"needs {tracker}, which is in the extra tracking")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        trained(Standard(), epochs=2, trackers=(tracker,), folder=tmp_path)
        if tracker == "wandb":
            sys.modules["wandb"].finish()
    assert [*tmp_path.glob(left)]


def test_the_log_has_a_row_for_every_epoch_and_nothing_where_nothing_was_measured(tmp_path):
    history = [
        Epoch(1, 2.0, 0.1, 3.0),
        Epoch(2, 1.5, 0.05, 6.0, Figures(100, clean=0.9)),
        Epoch(3, 1.0, 0.01, 9.0, Figures(100, clean=0.8, robust=0.4, fgsm=0.5)),
    ]
    finding = Finding("a guard", 3, "evidence", "fix", fatal=False)
    write_log(tmp_path, history, [finding])
    assert (tmp_path / "log.csv").read_text().splitlines() == [
        "number,loss,lr,seconds,clean,robust,fgsm,n",
        "1,2.0,0.1,3.0,,,,",
        "2,1.5,0.05,6.0,0.9,,,100",
        "3,1.0,0.01,9.0,0.8,0.4,0.5,100",
    ]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[1]["robust"] is None
    assert lines[2]["robust"] == 0.4
    assert lines[3] == {"guard": "a guard", "epoch": 3, "evidence": "evidence", "cure": "fix", "fatal": False}
    assert len(lines) == 4


def test_a_log_without_epochs_has_its_heading_still(tmp_path):
    write_log(tmp_path, [], [])
    assert (tmp_path / "log.csv").read_text() == "number,loss,lr,seconds,clean,robust,fgsm,n\n"
