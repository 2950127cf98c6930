"""The test-time optimisation check."""

from __future__ import annotations

import pytest
import torch
from nets import digits, linear
from torch import nn
from torch.autograd import grad as grad_by_another_name
from twins import Call

from robustkit.checks.inner_optimization import inner_optimisation
from robustkit.model.classifier import Classifier


class Inner(nn.Module):
    """A linear model with something going on inside."""

    def __init__(self, act):
        super().__init__()
        self.net, self.act = linear(torch.eye(10, 64)), act
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("memory", torch.zeros(64))

    def forward(self, x):
        self.act(self, x)
        return self.net(x)


def steer(model, x, get):
    x = x.detach().requires_grad_()
    get(model.net(x).sum(), x)


class TestInside:
    @pytest.mark.parametrize("act", [
        lambda m, x: steer(m, x, lambda s, v: torch.autograd.grad(s, v)),
        lambda m, x: steer(m, x, lambda s, v: s.backward()),
        lambda m, x: steer(m, x, lambda s, v: torch.autograd.backward(s)),
        lambda m, x: steer(m, x, lambda s, v: grad_by_another_name(s, v)),
        lambda m, x: m.memory.add_(x.mean(0).flatten()),
    ], ids=["grad", "Tensor.backward", "autograd.backward", "imported name", "memory"])  # fmt: skip
    def test_what_goes_on_inside_fails(self, act):
        classifier = Classifier(Inner(act))
        with classifier.frozen():
            assert inner_optimisation(classifier, digits(4)[0]).status == "fail"
        assert not classifier.module.memory.any()

    def test_a_counter_is_a_remark_and_nothing_at_all_a_pass(self):
        doors = torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward
        for act, status in ((lambda m, x: m.count.add_(1), "remark"), (lambda m, x: None, "pass")):
            classifier = Classifier(Inner(act))
            with classifier.frozen():
                assert inner_optimisation(classifier, digits(4)[0]).status == status
        assert doors == (torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward)


def test_a_call_is_a_module():
    assert Call(torch.relu)(-torch.ones(1)) == 0
