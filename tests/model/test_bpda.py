"""Operations without a gradient, attacked through a substitute."""

from __future__ import annotations

import copy

import pytest
import torch
from nets import digits, digits_cnn, generator, images, robust_accuracy, smooth_cnn
from scipy.fft import dctn, idctn
from torch import nn

from robustkit.attacks import PGD
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.maths.losses import get_loss
from robustkit.model.bpda import BPDA
from robustkit.model.classifier import Classifier

ATTACK = PGD(eps=0.15, steps=10)


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def eight_levels(x):
    return torch.round(x * 7) / 7


def jpeg(x):
    """Returns x with the cosine coefficients of each image rounded to multiples of 20, computed outside torch."""
    coefficients = dctn(x.numpy() * 255, axes=(-2, -1), norm="ortho")
    return torch.from_numpy(idctn((coefficients / 20).round() * 20, axes=(-2, -1), norm="ortho")).to(x.dtype) / 255


def defended(operation):
    return nn.Sequential(operation, digits_cnn())


def test_a_quantised_input_stalls_pgd_and_bpda_sets_it_free():
    x, y = (part[:200] for part in digits())
    rounded, bridged = Classifier(defended(Apply(eight_levels))), Classifier(defended(BPDA(eight_levels)))
    stalled, found = (robust_accuracy(ATTACK, model, x, y) for model in (rounded, bridged))
    assert rounded.tally.zero_gradients == rounded.tally.backwards > 0
    assert bridged.tally.zero_gradients < 0.01 * bridged.tally.backwards
    transferred = ATTACK(digits_cnn(), x, y).x_adv
    judged = (defended(Apply(eight_levels))(transferred).argmax(1) == y).double().mean()
    assert found <= judged + 0.02
    assert found < stalled - 0.3


def test_an_operation_that_leaves_torch_is_attacked_like_any_other():
    x, y = (part[:100] for part in digits())
    with pytest.raises(InvalidEvaluation, match="cut off from the input"):
        ATTACK(defended(Apply(lambda x: jpeg(x.detach()))), x, y)
    net = defended(BPDA(jpeg))
    transferred = ATTACK(digits_cnn(), x, y).x_adv
    judged = (net(transferred).argmax(1) == y).double().mean()
    assert robust_accuracy(ATTACK, net, x, y) < judged - 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("operation", [eight_levels, jpeg, torch.floor, lambda x: x])
@pytest.mark.parametrize("grad", [True, False])
def test_the_output_is_that_of_the_operation_bit_for_bit(operation, dtype, grad):
    x = images(5, dtype=dtype).requires_grad_()
    with torch.set_grad_enabled(grad):
        found = BPDA(operation)(x)
    assert found.equal(operation(x.detach()))
    assert (found.dtype, found.requires_grad) == (dtype, grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_is_that_of_the_identity(dtype):
    x = images(3, dtype=dtype).requires_grad_()
    weight = torch.randn(x.shape, generator=generator(), dtype=dtype)
    (grad,) = torch.autograd.grad((BPDA(torch.round)(x) * weight).sum(), x)
    assert grad.equal(weight)


def test_the_gradient_of_the_next_layer_is_taken_at_the_true_output():
    x = images(3).requires_grad_()
    (grad,) = torch.autograd.grad((BPDA(eight_levels)(x) ** 2).sum(), x)
    assert grad.equal(2 * eight_levels(x.detach()))


def test_the_gradient_is_that_of_the_substitute_at_the_input():
    x = images(3).requires_grad_()
    (grad,) = torch.autograd.grad(
        BPDA(lambda x: (x > 0.5).double(), lambda x: torch.sigmoid(9 * (x - 0.5)))(x).sum(), x
    )
    (expected,) = torch.autograd.grad(torch.sigmoid(9 * (x - 0.5)).sum(), x)
    assert grad.equal(expected)
    assert (grad > 0).all()


def test_the_substitute_may_lead_to_another_shape():
    x = images(3).requires_grad_()
    found = BPDA(lambda x: (x > 0.5).double().flatten(1)[:, :4], lambda x: x.flatten(1)[:, :4])(x)
    (grad,) = torch.autograd.grad(found.sum(), x)
    assert grad.flatten(1)[0].tolist() == [1.0] * 4 + [0.0] * 32


def test_operations_in_place_before_and_after_do_no_harm():
    x = images(3).requires_grad_()
    before = x.detach().clone()
    for operation in (lambda x: x.mul_(7).round_().div_(7), lambda x: x, lambda x: x.view(3, 1, 6, 6)):
        found = nn.Sequential(BPDA(operation, torch.square), nn.ReLU(inplace=True))(x)
        (grad,) = torch.autograd.grad(found.sum(), x)
        assert grad.equal(2 * before * (found > 0))
        assert x.equal(before)


def test_two_operations_in_a_row_hand_the_gradient_on():
    x = images(3).requires_grad_()
    (grad,) = torch.autograd.grad(nn.Sequential(BPDA(torch.round), BPDA(torch.floor, torch.square))(x).sum(), x)
    assert grad.equal(2 * x.detach().round())


def test_modules_inside_are_frozen_and_restored_like_any_other():
    substitute = nn.Conv2d(1, 1, 3, padding=1).double()
    net = nn.Sequential(BPDA(nn.Dropout(0.5), substitute), smooth_cnn())
    before = copy.deepcopy(net.state_dict())
    classifier, x = Classifier(net), images(6)
    with classifier.frozen():
        assert not net[0].operation.training
        found = classifier.gradient(x, torch.zeros(6, dtype=torch.int64), get_loss("ce"))
        assert found.logits.equal(net[1](x))  # in eval mode dropout does nothing
        assert found.grad.abs().sum() > 0
        assert substitute.weight.grad is None
    assert net[0].operation.training
    assert substitute.weight.requires_grad
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())


def test_a_substitute_with_weights_can_be_trained():
    substitute = nn.Conv2d(1, 1, 1).double()
    BPDA(torch.round, substitute)(images(3)).sum().backward()
    assert substitute.weight.grad.item() == pytest.approx(images(3).sum().item())


def test_without_a_graph_the_substitute_is_not_asked():
    def refuse(x):
        raise AssertionError("asked")

    with torch.no_grad():
        assert BPDA(torch.round, refuse)(images(2)).equal(images(2).round())


def test_another_shape_than_the_operation_is_refused_in_one_line():
    x = images(2)
    text = r"BPDA: expected the shape \(2, 36\) of the operation from {} too, got \(2, 1, 6, 6\); give a differentiable"
    with pytest.raises(ConfigurationError, match=text.format("the identity")):
        BPDA(nn.Flatten())(x)
    with pytest.raises(ConfigurationError, match=text.format("the identity")), torch.no_grad():
        BPDA(nn.Flatten())(x)
    with pytest.raises(ConfigurationError, match=text.format("the substitute")):
        BPDA(nn.Flatten(), torch.square)(x)


def test_what_no_gradient_can_pass_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"expected the operation to return a floating-point tensor, got torch.int64"
    ):
        BPDA(torch.Tensor.long)(images(2))
    with pytest.raises(ConfigurationError, match=r"floating-point tensor, got ndarray; convert"):
        BPDA(torch.Tensor.numpy)(images(2))
    with pytest.raises(ConfigurationError, match="BPDA: expected forward to be a function, got 'jpeg';"):
        BPDA("jpeg")
    with pytest.raises(ConfigurationError, match="BPDA: expected substitute to be a function, got 3;"):
        BPDA(torch.round, 3)
