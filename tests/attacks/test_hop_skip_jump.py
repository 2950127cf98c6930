"""HopSkipJump needs labels alone, and comes near the boundary of a model that has nothing else to offer."""

from __future__ import annotations

import pytest
import torch
from boundary import linear_problem
from nets import images, smooth_cnn
from torch import nn

from robustkit.attacks import PGD, HopSkipJump
from robustkit.maths.norms import NORMS
from robustkit.model.classifier import Classifier


class Labels(nn.Module):
    """Answers with the label alone, as a one-hot vector whose gradient is zero."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        z = self.net(x)
        return 8 * nn.functional.one_hot(z.argmax(1), z.shape[1]).to(z.dtype) + 0 * z


@pytest.mark.parametrize(("norm", "most"), [("L2", 1.5), ("Linf", 1.8), ("L1", 6.0)])
def test_by_labels_it_comes_near_the_exact_distance_and_never_below(norm, most):
    classifier, x, y, exact = linear_problem(2, (-1.0, 2.0), norm)
    blind = Classifier(Labels(classifier.model), bounds=(-1.0, 2.0), output="logits", num_classes=2)
    found = HopSkipJump(norm=norm, eps="inf", steps=8, looks=40)(blind, x, y)
    ratio = found.distance[found.success] / exact[found.success]
    assert found.success.all()
    assert ratio.min() >= 1 - 1e-9
    assert ratio.median() < most


@pytest.mark.parametrize("norm", NORMS)
def test_it_breaks_labels_that_a_gradient_attack_cannot(norm):
    net, x = smooth_cnn().eval(), images(6)
    y, blind = net(x).argmax(1), Labels(net)
    eps = {"Linf": 0.3, "L2": 3.0, "L1": 60.0}[norm]
    assert not PGD(norm=norm, eps=eps, steps=3, random_start=False)(blind, x, y).success.any()
    found = HopSkipJump(norm=norm, eps=eps, steps=4, looks=20)(blind, x, y)
    assert found.success.any()
    assert torch.equal(found.success, net(found.x_adv).argmax(1) != y)


def test_without_an_end_to_the_input_range_it_begins_around_the_inputs():
    classifier, x, y, exact = linear_problem(2, (-torch.inf, torch.inf), "L2", n=4)
    found = HopSkipJump(norm="L2", eps="inf", steps=4, looks=20)(classifier, x, y)
    assert found.x_adv.isfinite().all()
    assert (found.distance[found.success] >= exact[found.success] * (1 - 1e-9)).all()
