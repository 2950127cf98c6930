"""The losses against torch's own, and the promise that confidence cannot hide a gradient."""

from __future__ import annotations

import pytest
import torch
from nets import generator
from torch.nn.functional import cosine_similarity, cross_entropy

from robustkit.base.errors import ConfigurationError
from robustkit.maths.losses import LOSSES, get_loss, lead, one_hot

CLASSES = [2, 3, 10, 1000]


def plain_margin(z, y):
    wrong = z.masked_fill(one_hot(y, z).bool(), -torch.inf)
    return wrong.amax(1) - z.gather(1, y[:, None])[:, 0]


def plain_dlr(z, y):
    ordered = z.sort(dim=1, descending=True).values
    return plain_margin(z, y) / (ordered[:, 0] - ordered[:, 2] + 1e-12)


PLAIN = {"ce": lambda z, y: cross_entropy(z, y, reduction="none"), "margin": plain_margin, "dlr": plain_dlr}
CASES = [(name, k) for name in LOSSES for k in CLASSES if not (name == "dlr" and k == 2)]


def scores(classes, n=64, scale=3.0):
    z = torch.randn(n, classes, generator=generator(), dtype=torch.float64) * scale
    return z, torch.randint(classes, (n,), generator=generator(1))


def test_every_loss_is_tested_here():
    assert LOSSES.keys() == PLAIN.keys()


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("targeted", [False, True])
def test_value_and_direction_are_those_of_autograd_on_the_definition(name, classes, targeted):
    z, y = scores(classes)
    value, direction = get_loss(name, targeted)(z, y)
    z.requires_grad_()
    plain = PLAIN[name](z, y) * (-1 if targeted else 1)
    (grad,) = torch.autograd.grad(plain.sum(), z)
    torch.testing.assert_close(value, plain.detach(), rtol=1e-12, atol=1e-12)
    # DLR is constant, hence without a direction, where the label comes third: such a row is broken already.
    third = (z > z.gather(1, y[:, None])).sum(1) == 2
    flat = third if name == "dlr" else torch.zeros_like(third)
    assert (direction[flat].abs() < 1e-9).all()
    assert cosine_similarity(direction, grad, dim=1)[~flat].min() > 1 - 1e-9


@pytest.mark.parametrize(("name", "classes"), CASES)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4, 1e30])
@pytest.mark.parametrize("right", [True, False])
def test_the_direction_never_vanishes_however_confident_the_model(name, classes, scale, right):
    z, y = scores(classes)
    y = z.topk(2).indices[:, 0 if right else 1]
    _, direction = LOSSES[name](z * scale, y)
    assert direction.isfinite().all()
    assert (direction.abs().amax(1) >= 0.5).all()
    # The loss pushes the label down at full strength even where softmax is saturated.
    assert (direction.gather(1, y[:, None]) < 0).all()


def test_cross_entropy_of_autograd_does_vanish_there():
    z = torch.tensor([[1e4, 0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(cross_entropy(z, torch.tensor([0])), z)
    assert (grad == 0).all()
    assert LOSSES["ce"](z.detach(), torch.tensor([0]))[1].abs().max() == 1


@pytest.mark.parametrize("classes", [3, 10, 1000])
def test_dlr_does_not_depend_on_shift_and_scale_of_the_logits(classes):
    z, y = scores(classes)
    value, direction = LOSSES["dlr"](z, y)
    other, turned = LOSSES["dlr"](z * 123.0 + 4567.0, y)
    torch.testing.assert_close(other, value, rtol=1e-9, atol=0)
    torch.testing.assert_close(turned, direction, rtol=1e-9, atol=1e-9)


def test_dlr_of_a_right_row_lies_between_minus_one_and_zero():
    z, _ = scores(10)
    value, _ = LOSSES["dlr"](z, z.argmax(1))
    assert value.min() >= -1
    assert value.max() < 0


def test_dlr_needs_three_classes_and_says_so():
    with pytest.raises(ConfigurationError, match="'dlr': expected at least 3 classes, got 2; use loss='margin'"):
        LOSSES["dlr"](*scores(2))


def test_margin_of_known_scores():
    z = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0]], dtype=torch.float64)
    value, direction = LOSSES["margin"](z, torch.tensor([0, 0]))
    assert value.tolist() == [-1, 5]
    assert direction.tolist() == [[-1, 0, 1], [-1, 1, 0]]


def test_cross_entropy_of_two_classes_pushes_from_one_to_the_other():
    z = torch.tensor([[300.0, 0.0]], dtype=torch.float64)
    value, direction = LOSSES["ce"](z, torch.tensor([0]))
    assert value.item() == 0
    assert direction.tolist() == [[-1, 1]]


def test_the_lead_is_that_of_the_best_class_beside_the_label():
    assert lead(torch.tensor([[1.0, 9.0, 3.0], [1.0, 9.0, 3.0]]), torch.tensor([1, 0])).tolist() == [-6, 8]


@pytest.mark.parametrize("name", LOSSES)
def test_the_logits_given_are_not_changed(name):
    z, y = scores(5)
    before = z.clone()
    get_loss(name)(z, y)
    assert z.equal(before)


def test_an_unknown_loss_is_refused_with_a_suggestion():
    with pytest.raises(ConfigurationError, match="expected one of ce, margin, dlr, got 'margn'; did you mean 'margin'"):
        get_loss("margn")
