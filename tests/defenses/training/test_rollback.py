"""What is done about catastrophic overfitting: stop, or roll back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from robustkit.data.dataset import batches
from robustkit.defenses import FGSMRS, fit
from robustkit.defenses.training import Finding
from robustkit.loading.data import load_data
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import initial_weights


def conv(side, stride):
    with initial_weights(0):
        stages = nn.Conv2d(1, 16, 3 if side == 8 else 4, stride, 1), nn.Conv2d(16, 32, 3 if side == 8 else 4, 2, 1)
        return nn.Sequential(
            *(stages[0], nn.ReLU(), stages[1], nn.ReLU(), nn.Flatten()),
            *(nn.Linear(32 * 16 if side == 8 else 32 * 49, 64), nn.ReLU(), nn.Linear(64, 10)),
        )


def one_step_training(x, y, how, eps=0.3, **settings):
    net = conv(x.shape[-1], 1 if x.shape[-1] == 8 else 2)
    naive = FGSMRS(eps=eps, alpha=1.0, random_start=False)
    common = {"schedule": "constant", "eps_warmup": 3.0, "val_limit": 256, "select": "last", "on_catastrophic": how}
    return fit(Classifier(net), x, y, naive, **{**common, **settings})


@pytest.fixture(scope="module")
def digit_images():
    batch = next(iter(batches(load_data("digits", split="train"), 2000)))
    return batch.x, batch.y


DIGITS = {"lr": 0.02, "batch_size": 64, "held_out": 0.2}


class Once:
    """Takes the place of the guard: finds a collapse the first time it is asked after an epoch, whatever it sees."""

    def __init__(self, monkeypatch, epoch):
        self.epoch = epoch
        monkeypatch.setattr("robustkit.defenses.training.rollback.catastrophic", self)

    def __call__(self, epoch, figures, best):
        if epoch != self.epoch:
            return None
        self.epoch = 0
        return Finding("catastrophic overfitting", epoch, "evidence", "cure", fatal=True)


# When a network of this size collapses differs from processor to processor; that it is stopped where it does, does not.


def test_catastrophic_overfitting_is_stopped_at_the_first_epoch_that_shows_it(digit_images):
    left, result = (one_step_training(*digit_images, how, epochs=12, **DIGITS) for how in ("ignore", "stop"))
    assert not left.stopped
    assert result.stopped == "catastrophic overfitting"
    assert [e.figures for e in result.epochs] == [e.figures for e in left.epochs[: len(result.epochs)]]
    *_, last = result.epochs
    assert last.figures.robust < 0.5 * last.figures.fgsm
    assert [finding.epoch for finding in result.findings] == [last.number]


def test_the_look_between_epochs_stops_it_no_later(digit_images):
    late, result = (one_step_training(*digit_images, "stop", epochs=12, guard_every=n, **DIGITS) for n in (200, 4))
    assert result.stopped == late.stopped == "catastrophic overfitting"
    assert len(result.epochs) <= len(late.epochs)


def test_a_look_between_epochs_can_stop_before_the_epoch_is_over(digit_images, monkeypatch):
    Once(monkeypatch, 2)
    result = one_step_training(*digit_images, "stop", epochs=3, guard_every=4, eps_warmup=0.0, lr=0.02, batch_size=64)
    assert result.stopped == "catastrophic overfitting"
    assert [e.number for e in result.epochs] == [1]


def test_a_run_that_was_rolled_back_goes_on_to_its_end_with_smaller_steps(digit_images, monkeypatch):
    Once(monkeypatch, 3)
    cured = one_step_training(*digit_images, "rollback", epochs=6, **DIGITS)
    assert [finding.guard for finding in cured.findings] == ["catastrophic overfitting"]
    assert not cured.stopped
    assert [e.number for e in cured.epochs] == list(range(1, 7))  # what was rolled back is not in the history
    left = one_step_training(*digit_images, "ignore", epochs=6, **DIGITS)
    assert cured.epochs[1].loss == left.epochs[1].loss
    assert cured.epochs[2].loss != left.epochs[2].loss


def test_a_run_that_was_rolled_back_resumes_to_the_same_bits(digit_images, tmp_path, monkeypatch):
    settings = {**DIGITS, "epochs": 7}
    Once(monkeypatch, 3)
    straight = one_step_training(*digit_images, "rollback", **settings)
    Once(monkeypatch, 3)
    first = one_step_training(*digit_images, "rollback", **settings, stop_after=6, folder=tmp_path)
    assert first.findings
    again = one_step_training(*digit_images, "rollback", **settings, folder=tmp_path, resume=True)
    assert again.epochs[-1].loss == straight.epochs[-1].loss
    assert again.epochs[-1].figures == straight.epochs[-1].figures


def test_the_first_epoch_may_be_rolled_back_and_a_hopeless_run_ends(digit_images, tmp_path, monkeypatch):
    from robustkit.defenses.training import rollback

    def always(epoch, figures, best):
        return Finding("catastrophic overfitting", epoch, "evidence", "cure", fatal=True)

    monkeypatch.setattr(rollback, "catastrophic", always)
    settings = {**DIGITS, "epochs": 2, "eps_warmup": 0.0, "val_limit": 32, "val_steps": 1, "select": "auto"}
    x, y = digit_images
    result = one_step_training(x[:80], y[:80], "rollback", folder=tmp_path, **settings)
    assert len(result.findings) == rollback.ROLLBACKS + 1
    assert result.stopped == "catastrophic overfitting"
    assert [epoch.number for epoch in result.epochs] == [1]


@pytest.mark.slow
def test_on_mnist_the_guard_stops_the_collapse_and_its_cure_recovers(shared_data):
    with np.load(shared_data / "data" / "mnist" / "train.npz") as file:
        x = torch.from_numpy(file["images"][:3000]).float().div(255).reshape(-1, 1, 28, 28)
        y = torch.from_numpy(file["labels"][:3000])
    settings = {"epochs": 9, "lr": 0.003}
    left, stopped, cured = (one_step_training(x, y, how, **settings) for how in ("ignore", "stop", "rollback"))
    # Under FGSM a collapsed network jumps by up to 0.28 from epoch to epoch (docs/log.md): no single one counts.
    assert left.epochs[-1].figures.robust < 0.1
    deceived = max((epoch.figures for epoch in left.epochs), key=lambda figures: figures.fgsm)
    assert deceived.fgsm > 0.5
    assert deceived.robust < 0.1
    assert stopped.stopped == "catastrophic overfitting"
    assert cured.epochs[-1].figures.robust > 0.3
