"""MI-FGSM: its equations, its limit cases, and a peer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, images, labels, linear, robust_accuracy, smooth_cnn
from torch import Tensor
from torch.nn.functional import cross_entropy

from robustkit.attacks import FGSM, MIFGSM, PGD, create
from robustkit.attacks.all_steps import craft
from robustkit.base.errors import ConfigurationError
from robustkit.model.classifier import Classifier

NORMS = ("Linf", "L2", "L1")
NET = smooth_cnn().eval().requires_grad_(False)
X, Y = images(30), labels(30)


def last_point(attack, net, x: Tensor, y: Tensor) -> Tensor:
    """Returns where all steps lead, broken or not."""
    classifier = Classifier(net, output="logits")
    with classifier.frozen():
        return craft(attack, classifier, x, y, torch.arange(len(x)), seed=0)


def paper(net, x: Tensor, y: Tensor, norm: str, eps: float, steps: int, mu: float) -> np.ndarray:
    """Equations 6 and 7 of the paper, and its L2 form, one image at a time in float64."""
    found = []
    for image, label in zip(x, y, strict=True):
        start, g = image.numpy(), 0.0
        point = start
        for _ in range(steps):
            at = torch.from_numpy(point)[None].requires_grad_()
            (grad,) = torch.autograd.grad(cross_entropy(net(at), label[None]), at)
            g = mu * g + grad[0].numpy() / np.abs(grad[0].numpy()).sum()
            point = point + eps / steps * (np.sign(g) if norm == "Linf" else g / np.sqrt((g**2).sum()))
            delta = point - start
            if norm == "L2":
                delta = delta * min(1.0, eps / max(np.sqrt((delta**2).sum()), 1e-12))
            point = (start + delta).clip(0, 1)
        found.append(point)
    return np.stack(found)


@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.1), ("L2", 0.5)])
def test_it_follows_the_equations_of_the_paper(norm, eps, mu):
    attack = MIFGSM(norm=norm, eps=eps, steps=7, momentum=mu)
    np.testing.assert_allclose(last_point(attack, NET, X, Y), paper(NET, X, Y, norm, eps, 7, mu), atol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_without_momentum_it_is_pgd_from_the_clean_input(norm):
    plain = MIFGSM(norm=norm, eps=0.3, steps=6, step_size=0.1, momentum=0)
    pgd = PGD(norm=norm, eps=0.3, steps=6, step_size=0.1, random_start=False)
    torch.testing.assert_close(last_point(plain, NET, X, Y), last_point(pgd, NET, X, Y), atol=1e-12, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_one_step_is_fgsm(norm):
    single = MIFGSM(norm=norm, eps=0.2, steps=1, share=1e-9)
    torch.testing.assert_close(last_point(single, NET, X, Y), last_point(FGSM(norm=norm, eps=0.2), NET, X, Y))


def test_momentum_carries_it_on_where_the_gradient_turns():
    """Gradients of L1 norm one: +1 up to 0.55 and -1 beyond it; the sum is 1, 2, 3, then 2, 1, 0 and stands still."""

    class Ridge(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            rise = -(x - 0.55).abs().sum(1, keepdim=True)
            return torch.cat([torch.zeros_like(rise), rise - 9], dim=1)

    x = torch.tensor([[0.3]], dtype=torch.float64)
    for steps, expected in ((1, 0.4), (2, 0.5), (3, 0.6), (4, 0.7), (5, 0.8), (6, 0.8), (7, 0.7)):
        attack = MIFGSM(eps=0.6, steps=steps, step_size=0.1, loss="margin")
        assert last_point(attack, Ridge(), x, torch.zeros(1).long()).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_the_scale_of_the_gradient_does_not_matter(scale):
    weight = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5]], dtype=torch.float64)
    x, y = torch.full((1, 3), 0.5, dtype=torch.float64), torch.zeros(1).long()
    for norm in NORMS:
        attack = MIFGSM(norm=norm, eps=0.2, loss="margin")
        torch.testing.assert_close(
            last_point(attack, linear(weight * scale), x, y), last_point(attack, linear(weight), x, y)
        )


@pytest.mark.parametrize("norm", NORMS)
def test_linear_models_break_just_outside_the_exact_distance_and_never_inside(norm):
    weight = torch.tensor([[0.0] * 4, [1.0, -2.0, 0.5, 3.0]], dtype=torch.float64)
    x, y = torch.full((1, 4), 0.5, dtype=torch.float64), torch.zeros(1).long()
    distance = 0.1
    dual = torch.linalg.vector_norm(weight[1], {"Linf": 1, "L2": 2, "L1": math.inf}[norm])
    net = linear(weight, torch.tensor([weight[1] @ x[0] + distance * dual, 0.0]))
    assert MIFGSM(norm=norm, eps=1.001 * distance)(net, x, y).success
    assert not MIFGSM(norm=norm, eps=0.999 * distance)(net, x, y).success


@pytest.mark.parametrize("norm", NORMS)
def test_a_row_without_a_gradient_stays_where_it_is(norm):
    flat = linear(torch.zeros(2, 36, dtype=torch.float64), torch.tensor([1.0, 0.0]))
    assert last_point(MIFGSM(norm=norm, eps=0.2), flat, X, torch.zeros(30).long()).equal(X)


@pytest.mark.slow
def test_it_lies_between_fgsm_and_pgd_in_strength():
    x, y = digits(150)
    order = [FGSM(eps=0.1), MIFGSM(eps=0.1), PGD(eps=0.1, steps=40, restarts=3)]
    accuracies = [robust_accuracy(attack, digits_cnn(), x, y) for attack in order]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > accuracies[1] + 0.05


def test_its_last_points_are_those_of_torchattacks():
    torchattacks = pytest.importorskip("torchattacks")
    x, y = digits(100)
    peer = torchattacks.MIFGSM(digits_cnn(), eps=0.1, alpha=0.01, steps=10, decay=1.0)(x, y)
    ours = last_point(MIFGSM(eps=0.1, steps=10, step_size=0.01), digits_cnn(), x, y)
    same = (ours - peer).abs().flatten(1).amax(1) < 1e-5
    assert same.double().mean() > 0.95  # a gradient of about 0 may round to either sign


@pytest.mark.parametrize(("spec", "text"), [
    ("mifgsm:momentum=-1", r"mifgsm: expected momentum in \[0, inf\), got -1; correct it"),
    ("mifgsm:momentum=nan", r"mifgsm: expected momentum in \[0, inf\), got nan; correct it"),
    ("mifgsm:share=2", r"mifgsm: expected share in \(0, 1\], got 2; correct it"),
    ("mifgsm:restarts=2", "mifgsm: expected restarts 1, got 2; it makes no random choice"),
    ("mifgsm:steps=0", "mifgsm: expected steps to be an integer >= 1, got 0; correct it"),
    ("mifgsm:los=ce", "did you mean 'loss'"),
    ("mifgsm:step_size=-1", "eps: expected a number >= 0"),
])  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(spec, text):
    with pytest.raises(ConfigurationError, match=text):
        create(spec)


def test_the_step_size_is_eps_over_steps_unless_given():
    assert MIFGSM(eps="8/255", steps=4).settings()["step_size"] == pytest.approx(2 / 255)
    assert MIFGSM(step_size="1/255").settings()["step_size"] == "1/255"
