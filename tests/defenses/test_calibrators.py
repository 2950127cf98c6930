"""Calibrators: honest confidence, and the answers as they were."""

from __future__ import annotations

import functools
import logging

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, generator, images, labels, robust_accuracy, smooth_cnn
from torch import nn
from torch.nn.functional import cross_entropy

from robustkit.attacks import PGD
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.defenses.calibrators import CALIBRATORS, Isotonic, Temperature, VectorScaling, calibrate
from robustkit.maths.calibration import columns, ece
from robustkit.model.classifier import Classifier

KEEPS_ANSWERS = [name for name, kind in CALIBRATORS.items() if kind.keeps_answers]


class Scores(nn.Module):
    """Takes logits for inputs and returns them, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64), requires_grad=False)

    def forward(self, x):
        return x * self.factor


def as_scores(factor: float = 1.0) -> Classifier:
    return Classifier(Scores(factor), bounds=(-100, 100), output="logits")


@functools.cache
def honest(n: int = 4000, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns logits and labels drawn from their softmax: perfectly calibrated at factor 1."""
    logits = 2 * torch.randn(n, classes, generator=generator(), dtype=torch.float64)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator(1)).squeeze(1)


def ece_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        found = columns(model(x).double().softmax(1).numpy(), y.numpy())
    return ece(found.confidence, found.correct)


@pytest.mark.parametrize("factor", [0.2, 1.0, 3.0, 1000.0])
def test_temperature_finds_the_factor_that_was_applied(factor):
    found = calibrate(as_scores(factor), *honest())
    assert isinstance(found, Temperature)
    assert float(found.temperature) == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("method", CALIBRATORS)
def test_an_overconfident_model_becomes_honest_on_new_samples(method):
    x, y = honest()
    found = calibrate(as_scores(4.0), x[:2000], y[:2000], method)
    before, after = ece_of(Scores(4.0), x[2000:], y[2000:]), ece_of(found, x[2000:], y[2000:])
    assert before > 0.15
    assert after < 0.2 * before


@pytest.mark.parametrize("method", CALIBRATORS)
@pytest.mark.parametrize("factor", [0.5, 1.0, 5.0])
def test_held_out_loss_never_rises(method, factor):
    x, y = honest()
    for n in (20, 200):
        found = calibrate(as_scores(factor), x[:n], y[:n], method)
        with torch.no_grad():
            assert cross_entropy(found(x[:n]), y[:n]) <= cross_entropy(x[:n] * factor, y[:n])


def test_temperature_cuts_the_error_of_a_real_network_and_its_loss():
    x, y = digits()
    net = nn.Sequential(digits_cnn(), Scores(5.0)).float()  # over-confident
    found = calibrate(net, x[:150], y[:150])
    with torch.no_grad():
        assert cross_entropy(found(x[:150]), y[:150]) < cross_entropy(net(x[:150]), y[:150])
    assert float(found.temperature) > 1
    assert torch.equal(found(x).argmax(1), net(x).argmax(1))


@pytest.mark.parametrize("method", KEEPS_ANSWERS)
def test_no_answer_changes_where_none_is_promised_to(method):
    x, y = honest()
    found = calibrate(as_scores(3.0), x[:60], y[:60], method)  # few samples: a curve with long flat parts
    everything = torch.cat([x, x.float().double(), torch.randn(2000, 5, generator=generator(2)).double() * 30])
    assert torch.equal(found(everything).argmax(1), everything.argmax(1))
    assert torch.equal(found.float()(everything.float()).argmax(1), everything.float().argmax(1))


def test_vector_scaling_corrects_a_class_that_is_favoured():
    x, y = honest()
    shift = torch.tensor([3.0, 0, 0, 0, 0])
    found = calibrate(as_scores(), x + shift, y, "vector")
    assert isinstance(found, VectorScaling)
    offset = found.offset - found.offset[1:].mean()
    assert float(offset[0]) == pytest.approx(-3, abs=0.4)
    wrong, right = ((z.argmax(1) == y).double().mean() for z in (x + shift, found(x + shift)))
    assert right > wrong + 0.1


def test_isotonic_is_scikit_learns_curve_normalised_again():
    from sklearn.isotonic import IsotonicRegression

    x, y = honest(500)
    found = calibrate(as_scores(2.0), x, y, "isotonic")
    p = (2 * x).softmax(1).numpy()
    curve = IsotonicRegression(out_of_bounds="clip").fit(p.ravel(), np.eye(5)[y].ravel()).predict(p.ravel())
    curve = np.clip(curve, 1 / 2502, 1 - 1 / 2502).reshape(p.shape)
    np.testing.assert_allclose(found(x).softmax(1).numpy(), curve / curve.sum(1, keepdims=True), atol=1e-9)


def test_isotonic_is_attacked_through_the_logits_of_the_model():
    net, x = smooth_cnn(), images(40)
    y = net(x).argmax(1)
    found = calibrate(net, x, labels(40), "isotonic")
    attack = PGD(eps=0.3, steps=10, loss="margin")
    assert robust_accuracy(attack, found, x, y) == pytest.approx(robust_accuracy(attack, net, x, y), abs=0.05)
    x.requires_grad_()
    (own,) = torch.autograd.grad(net(x)[:, 1].sum(), x)
    (through,) = torch.autograd.grad(found(x)[:, 1].sum(), x)
    torch.testing.assert_close(own, through)


@pytest.mark.parametrize("method", CALIBRATORS)
def test_a_calibrator_is_built_again_from_its_settings(method):
    x, y = honest(300)
    found = calibrate(as_scores(2.0), x, y, method)
    again = CALIBRATORS[method](as_scores(2.0), **found.settings())
    assert torch.equal(found(x), again(x))


@pytest.mark.parametrize("method", CALIBRATORS)
def test_the_map_that_changes_nothing_changes_nothing(method):
    x, _ = honest(300)
    same = CALIBRATORS[method](as_scores(), **CALIBRATORS[method].unchanged(5))
    assert torch.equal(same(x), x)


def test_normalisation_of_the_classifier_is_inside():
    net, x = smooth_cnn(), images(30)
    found = calibrate(Classifier(net, mean=0.3, std=0.4), x, labels(30))
    torch.testing.assert_close(found(x), net((x - 0.3) / 0.4) / found.temperature)


def test_the_model_is_left_as_it_was():
    net = smooth_cnn().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    calibrate(net, images(30), labels(30), "isotonic")
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_samples_that_are_all_right_tell_no_temperature():
    x, _ = honest(50)
    with pytest.raises(InvalidEvaluation, match="expected at least one wrong answer, got 50 right ones"):
        calibrate(as_scores(), x, x.argmax(1))


def test_a_fit_that_would_raise_the_loss_is_not_made():
    x = torch.eye(5, dtype=torch.float64).repeat(4, 1) * 60  # right with probability 1: nothing can be better
    found = calibrate(as_scores(), x, x.argmax(1), "isotonic")
    assert found.settings() == Isotonic.unchanged(5)


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigurationError, match="did you mean 'temperature'"):
        calibrate(as_scores(), *honest(50), "temprature")
    with pytest.raises(InvalidEvaluation, match="one label per sample"):
        calibrate(as_scores(), honest(50)[0], honest(40)[1])


def test_nothing_is_said_about_log_probabilities(caplog):
    x, y = honest(100)
    with caplog.at_level(logging.WARNING):
        Classifier(calibrate(as_scores(), x, y, "isotonic"), bounds=(-100, 100)).logits(x)
    assert not caplog.records


def test_a_model_that_always_says_the_same_is_given_the_one_probability_it_earns():
    fitted = Isotonic.fit(np.zeros((6, 3)), np.array([0, 1, 2, 0, 1, 2]))
    assert fitted["given"] == [0.0, 1.0]
    assert fitted["honest"] == pytest.approx([1 / 3, 1 / 3])


@pytest.mark.parametrize("method", CALIBRATORS)
@pytest.mark.parametrize(("n", "classes"), [(50, 10), (100, 40), (200, 10)])
def test_what_would_not_help_on_new_samples_is_left_out_and_said(method, n, classes):
    for seed in range(2):
        logits = 4 * torch.randn(n + 2000, classes, generator=generator(seed), dtype=torch.float64)
        y = torch.multinomial(logits.softmax(1), 1, generator=generator(seed + 9)).squeeze(1)
        found = calibrate(as_scores(), logits[:n], y[:n], method)
        before, after = (cross_entropy(z[n:], y[n:]) for z in (logits, found(logits)))
        assert after <= before + 0.02  # without a prior and folds, vector scaling makes it 2 to 80 here
        assert bool(found.note) == torch.allclose(found(logits).softmax(1), logits.softmax(1))


def test_vector_scaling_of_classes_that_can_be_told_apart_stays_near_the_best_temperature():
    x, y = honest(60)
    found = VectorScaling.fit(x.numpy() * 3, y.numpy())
    best = 1 / Temperature.fit(x.numpy() * 3, y.numpy())["temperature"]
    assert all(0 < scale < 4 * best for scale in found["scale"])
    assert max(map(abs, found["offset"])) < 2
