"""The guards: what they see and what they let pass."""

from __future__ import annotations

import math

import pytest
import torch
from nets import images, labels, smooth_cnn
from torch import nn

from robustkit.defenses import Standard, fit
from robustkit.defenses.training import Diverged, Epoch, Figures
from robustkit.defenses.training.guards import catastrophic, not_learning, robust_overfitting
from robustkit.model.classifier import Classifier

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


def test_a_loss_of_guessing_that_falls_is_a_warning():
    first, second = Epoch(1, 2.3037, 0.1, 0.0), Epoch(2, 2.2990, 0.1, 0.0)
    slow = not_learning(second, 2, 100, EVEN, [first])
    assert not slow.fatal
    assert "mean loss 2.299, where guessing costs 2.303 and the loss falls (before 2.304)" in str(slow)
    assert not_learning(Epoch(2, 2.3034, 0.1, 0.0), 2, 100, EVEN, [first]).fatal  # noise
    assert not_learning(Epoch(3, 2.3020, 0.1, 0.0), 2, 100, EVEN, [second, first]).fatal  # up and down again


def test_a_small_network_at_a_small_rate_is_not_given_up_while_its_loss_falls():
    torch.manual_seed(0)
    x, y = torch.rand(150, 20), torch.arange(150) % 10
    x[torch.arange(150), y] += 0.3
    plan = {"optimizer": "sgd", "lr": 0.001, "momentum": 0.9, "batch_size": 4, "schedule": "constant"}
    result = fit(Classifier(nn.Linear(20, 10), bounds=(0, 2)), x, y, Standard(), epochs=2, **plan)
    assert result.epochs[1].loss < result.epochs[0].loss
    assert [(finding.guard, finding.fatal) for finding in result.findings] == [("not learning", False)]


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


@pytest.mark.parametrize(
    ("fgsm", "robust", "best", "found"),
    [
        (0.52, 0.20, 0.20, True),  # 0.38 of the accuracy under FGSM, a gap of 0.32
        (0.52, 0.22, 0.22, False),  # 0.42 of it
        (0.50, 0.32, 0.53, True),  # a gap of 0.18 and a fall of 0.21
        (0.50, 0.32, 0.51, False),  # a fall of 0.19
        (0.46, 0.32, 0.60, False),  # a gap of 0.14
    ],
)
def test_the_limits_of_catastrophic_overfitting_are_those_it_names(fgsm, robust, best, found):
    assert (catastrophic(1, Figures(n=10_000, clean=0.9, robust=robust, fgsm=fgsm), best) is not None) == found


def test_a_fall_within_three_standard_errors_proves_nothing():
    few = Figures(n=64, clean=0.9, robust=0.40, fgsm=0.70)  # three standard errors are 0.265
    assert catastrophic(1, few, 0.66) is None
    assert catastrophic(1, few, 0.67) is not None


def test_a_fall_is_told_only_where_there_was_one():
    assert "best so far" not in str(catastrophic(1, Figures(n=256, clean=0.9, robust=0.05, fgsm=0.5), 0.05))
    assert "(best so far 60.0 %)" in str(catastrophic(1, Figures(n=256, clean=0.9, robust=0.05, fgsm=0.5), 0.60))


def test_the_limits_of_not_learning_are_those_it_names():
    chance = math.log(10)
    assert not_learning(epoch(5, 0.98 * chance), 20, 30, EVEN) is not None
    assert not_learning(epoch(5, 0.96 * chance), 20, 30, EVEN) is None
    assert not_learning(epoch(1, chance), 4, 30, EVEN) is None  # the first epoch never tells
    assert not_learning(epoch(2, chance), 4, 30, EVEN) is not None
    noise = 3 * math.sqrt(0.1 * 0.9 / 256)
    assert not_learning(epoch(5, chance, clean=0.1 + 0.99 * noise), 20, 30, EVEN) is not None
    assert not_learning(epoch(5, chance, clean=0.1 + 1.01 * noise), 20, 30, EVEN) is None


def test_the_limits_of_robust_overfitting_are_those_it_names():
    best = epoch(1, robust=0.5, n=1_000_000)
    assert robust_overfitting([best, epoch(9, robust=0.465, n=1_000_000)], best) is not None
    assert robust_overfitting([best, epoch(9, robust=0.475, n=1_000_000)], best) is None
