"""Gradients that vanish at the ends of the input range only, and how attacks get past them."""

from __future__ import annotations

import pytest
import torch
from nets import digits, digits_cnn, images, labels, robust_accuracy, smooth_cnn
from probe_examples import by_id
from torch import nn
from torch.nn import functional
from twins import Twin

import robustkit
from robustkit.attacks import FGSM, PGD
from robustkit.checks.doctor import examine
from robustkit.maths.losses import cross_entropy
from robustkit.model.classifier import Classifier
from robustkit.model.range_edges import inside

ZERO, ONE = torch.tensor(0.0), torch.tensor(1.0)
CLAMPS = {
    "clamp": lambda x: x.clamp(0, 1),
    "clamp in place": lambda x: x.clamp_(0, 1),
    "clip": lambda x: torch.clip(x, 0, 1),
    "hardtanh": lambda x: functional.hardtanh(x, 0, 1),
    "hardsigmoid": lambda x: functional.hardsigmoid(6 * x - 3),
    "relu": torch.relu,
    "relu6": lambda x: functional.relu6(6 * x) / 6,
    "after mean and std": lambda x: ((x - 0.4) / 0.2).clamp(-2, 3) * 0.2 + 0.4,
}
HALVED = {"clamp by tensors": lambda x: x.clamp(ZERO, ONE), "minimum": lambda x: x.maximum(ZERO).minimum(ONE)}


def needs_zero_gradients(name):
    """Skips a clamp whose gradient at its ends is not zero, which torch changed (2.6 lets it through)."""
    at_end = torch.zeros(1, requires_grad=True)
    (gradient,) = torch.autograd.grad({**CLAMPS, **HALVED}[name](at_end * 1).sum(), at_end)
    if gradient.item() == 1:
        pytest.skip(f"{name} of torch {torch.__version__} has a gradient at its ends")


def clamped(before) -> Classifier:
    return Classifier(Twin(before=before, net=smooth_cnn()).eval())


def sorted_by_itself(n: int = 64):
    """Returns images of which a fifth of the pixels are at the ends, and the classes that the network sees in them."""
    x = images(n)
    return x, smooth_cnn().eval()(x).argmax(1)


@pytest.mark.parametrize("name", CLAMPS)
def test_a_clamp_in_front_does_not_change_the_gradient_that_attacks_follow(name):
    needs_zero_gradients(name)
    x, y = images(8), labels(8)
    bare = Classifier(smooth_cnn().eval()).gradient(x, y, cross_entropy).grad
    model = clamped(CLAMPS[name])
    found = model.gradient(x, y, cross_entropy).grad
    assert model.vanishes_at_edges
    assert torch.allclose(found, bare, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [*CLAMPS, *HALVED])
def test_the_doctor_names_a_clamp_and_attacks_are_as_strong_as_without_it(name):
    needs_zero_gradients(name)
    x, y = sorted_by_itself()
    model = clamped({**CLAMPS, **HALVED}[name])
    gradient = by_id(examine(model, x, y))["Q07"]
    assert gradient.status == "remark"
    assert "at exactly the ends of the input range" in gradient.message
    attack = FGSM(eps=0.05)
    assert robust_accuracy(attack, model, x, y) == robust_accuracy(attack, smooth_cnn().eval(), x, y) < 0.9


def test_the_robust_accuracy_of_an_audit_is_that_of_the_model_without_its_clamp():
    attacks = [FGSM(eps=0.05), PGD(eps=0.05, steps=5)]
    bare = robustkit.evaluate(smooth_cnn().eval(), sorted_by_itself(), attacks)
    behind = robustkit.evaluate(clamped(CLAMPS["clamp"]), sorted_by_itself(), attacks)
    for attack in ("fgsm", "pgd"):
        assert behind.accuracy(attack) == bare.accuracy(attack)


def test_data_without_extreme_pixels_do_not_hide_a_clamp_from_the_doctor():
    needs_zero_gradients("clamp")
    x, y = digits(64)
    model = Classifier(Twin(before=lambda x: (x.clamp(0, 1) - 0.05) / 0.9).eval())
    examine(model, 0.05 + 0.9 * x, y)
    assert model.vanishes_at_edges


@pytest.mark.parametrize(
    "before",
    [
        lambda x: x,
        lambda x: x.clamp(-1, 2),
        lambda x: (x * 8).round() / 8,  # no gradient anywhere
        lambda x: x.detach(),
        lambda x: x + 0.05 * torch.randn_like(x),
    ],
)
def test_other_models_are_left_alone(before):
    x, y = digits(64)
    model = Classifier(Twin(before=before).eval())
    examine(model, x, y)
    assert not model.vanishes_at_edges


def test_an_honest_model_is_asked_no_more_than_before():
    model = Classifier(digits_cnn())
    model.gradient(*digits(16), cross_entropy)
    assert (model.tally.forwards, model.tally.backwards) == (16, 16)
    assert model.vanishes_at_edges is False


def test_inputs_inside_the_range_leave_the_question_open():
    model = Classifier(smooth_cnn().eval())
    model.gradient(images(4).clamp(0.1, 0.9), labels(4), cross_entropy)
    assert model.vanishes_at_edges is None


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, 255.0), (-2.2, 2.7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_hair_inside_is_inside_in_the_numbers_of_the_model(bounds, dtype):
    x = torch.tensor([bounds], requires_grad=True)
    pulled = inside(x, bounds, dtype)
    low, high = torch.tensor(bounds, dtype=dtype)
    assert low < pulled[0, 0].to(dtype) < pulled[0, 1].to(dtype) < high
    assert (pulled - x).abs().max() <= 3 * torch.finfo(dtype).eps * max(map(abs, bounds))
    (grad,) = torch.autograd.grad(pulled.sum(), x)
    assert bool((grad == 1).all())


def test_what_decides_a_sample_is_the_model_at_the_point_itself():
    model = Classifier(nn.Sequential(nn.Hardtanh(0, 1), digits_cnn()))
    model.vanishes_at_edges = True
    x = digits(8)[0]
    with torch.no_grad():
        assert model.logits(x).equal(digits_cnn()(x))
