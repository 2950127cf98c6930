"""The guards: what they see, what they let pass, and that their cures cure."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from nets import images, labels, smooth_cnn
from torch import nn

from robustkit.data.dataset import batches
from robustkit.defenses import FGSMRS, Standard, fit
from robustkit.defenses.training import Diverged, Epoch, Figures, Finding
from robustkit.defenses.training.guards import catastrophic, not_learning, robust_overfitting
from robustkit.loading.data import load_data
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import initial_weights

EVEN = [0.1] * 10


def epoch(number, loss=1.0, **figures):
    return Epoch(number, loss, 0.1, 0.0, Figures(**{"n": 256, "clean": 0.9, **figures}) if figures else None)


@pytest.mark.parametrize(
    ("fgsm", "robust", "best", "found"),
    [
        (0.95, 0.02, 0.45, True),  # the textbook case
        (0.45, 0.05, 0.05, True),  # masked from the beginning
        (0.80, 0.60, 0.85, True),  # fell by more than Wong's limit while FGSM did not
        (0.80, 0.65, 0.66, False),  # the usual gap of a sound model
        (0.60, 0.55, 0.80, False),  # both fell: no gap, something else
        (0.10, 0.01, 0.01, False),  # nothing robust yet
        (0.30, 0.13, 0.13, False),
    ],
)
def test_catastrophic_overfitting_is_a_gap_between_one_step_and_many(fgsm, robust, best, found):
    finding = catastrophic(3, Figures(n=256, clean=0.9, robust=robust, fgsm=fgsm), best)
    assert (finding is not None) == found
    if finding:
        assert finding.fatal
        assert f"{100 * fgsm:.1f} % right under FGSM but {100 * robust:.1f} % under PGD on 256 probes" in str(finding)
        assert "rollback" in finding.cure


def test_few_probes_prove_nothing():
    assert catastrophic(1, Figures(n=16, clean=0.9, robust=0.1, fgsm=0.5), 0.1) is None
    assert catastrophic(1, Figures(n=160, clean=0.9, robust=0.1, fgsm=0.5), 0.1) is not None


def test_a_loss_of_guessing_after_a_quarter_of_the_run_is_not_learning():
    stuck = not_learning(epoch(5, 2.301, clean=0.11), 20, 100, EVEN)
    assert "mean loss 2.301 and 11.0 % clean accuracy, where guessing costs 2.303" in str(stuck)
    assert stuck.fatal
    assert not_learning(epoch(4, 2.301, clean=0.11), 20, 100, EVEN) is None  # too early to say
    assert not_learning(epoch(5, 2.301, clean=0.11), 20, 29, EVEN) is None  # nor after so few updates
    assert not_learning(epoch(5, 2.1, clean=0.11), 20, 100, EVEN) is None
    assert not_learning(epoch(5, 2.4, clean=0.30), 20, 100, EVEN) is None  # the loss of MART exceeds ln K for a while
    assert not_learning(Epoch(5, 2.301, 0.1, 0.0), 20, 100, EVEN) is not None
    # With nine tenths of one class, guessing costs 0.325 and is right nine times in ten.
    assert not_learning(epoch(5, 0.33, clean=0.91), 20, 100, [0.9, 0.1]) is not None
    assert not_learning(epoch(5, 0.25, clean=0.91), 20, 100, [0.9, 0.1]) is None


def test_robust_overfitting_compares_the_best_epoch_with_the_last():
    best, last = epoch(7, robust=0.52, n=1000), epoch(20, robust=0.45, n=1000)
    finding = robust_overfitting([best, last, Epoch(21, 1.0, 0.1, 0.0)], best)
    assert "52.0 % in epoch 7, 45.0 % in the last, on 1000 held-out samples" in str(finding)
    assert not finding.fatal
    assert robust_overfitting([best, epoch(20, robust=0.50, n=1000)], best) is None
    assert robust_overfitting([epoch(7, robust=0.52, n=50), epoch(20, robust=0.45, n=50)], best) is not None
    few = epoch(7, robust=0.52, n=50)
    assert robust_overfitting([few, epoch(20, robust=0.40, n=50)], few) is None  # within the noise of 50 samples
    assert robust_overfitting([epoch(1, robust=math.nan)], epoch(1, robust=math.nan)) is None
    assert robust_overfitting([], None) is None


def test_a_loss_that_is_no_number_ends_training_with_evidence_and_cure():
    net = smooth_cnn(dtype=torch.float32)
    with pytest.raises(
        Diverged, match=r"got nan in epoch 1, batch 2, at learning rate .*; lower lr, or clip"
    ) as caught:
        fit(Classifier(net), images(16, torch.float32), labels(16), Standard(), epochs=3, lr=1e30, batch_size=8)
    assert caught.value.exit_code == 3
    assert not net.training


def test_labels_that_have_nothing_to_do_with_the_inputs_are_found():
    x, y = images(64, torch.float32), labels(64)
    result = fit(Classifier(smooth_cnn(dtype=torch.float32)), x * 0, y, Standard(), epochs=8, lr=1e-4, batch_size=8)
    assert [finding.guard for finding in result.findings] == ["not learning"]  # said once


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
