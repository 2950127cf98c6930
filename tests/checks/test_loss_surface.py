"""The loss surface check."""

from __future__ import annotations

import copy

import pytest
import torch
from nets import digits, digits_cnn, linear
from probe_examples import EPS, audited, by_id
from torch import nn
from twins import Call, Twin, twins

from robustkit.attacks import PGD
from robustkit.checks.doctor import checkup
from robustkit.checks.loss_surface import smooth
from robustkit.model.bpda import BPDA
from robustkit.model.classifier import Classifier


class Autocast(nn.Module):
    """A network in bfloat16 inside."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.net(x)


def stairs(x):
    """Returns `x` on steps of 0.01, 0.5 being the edge of one."""
    return (100 * x).floor() / 100


class TestStrength:
    @pytest.mark.parametrize("name", ["fast sine", "ripples on the logits", "quantised input", "winners take all"])
    def test_a_rough_surface_is_seen(self, name):
        x, y = digits(24)
        assert by_id(checkup(Classifier(twins()[name]), (x, y)))["Q18"].status == "fail"

    @pytest.mark.parametrize(
        ("before", "eps", "value", "status"),
        [
            (nn.Identity(), 1e-3, "gradient 1.00, spread 1.00", "pass"),
            (nn.Identity(), 1e-7, "gradient 1.00", "pass"),  # less than float32 can tell
            (Call(stairs), 1e-3, ", spread 0.03", "fail"),  # one step of 32 pieces crosses one stair at most
            (BPDA(stairs), 1e-3, "gradient 1.00", "pass"),  # declared, and attacked through
        ],
    )
    def test_stairs_are_told_from_slopes(self, before, eps, value, status):
        x, y = torch.full((5, 1, 2, 2), 0.5), torch.zeros(5, dtype=torch.int64)
        model = Classifier(
            nn.Sequential(before, linear(torch.eye(2, 4), torch.tensor([0.1, 0.0]))).eval(), output="logits"
        )
        with model.frozen():
            found = smooth(model, x, y, torch.arange(5), eps=eps)
        assert str(found.value).endswith(value)
        assert found.status == status

    def test_a_loss_that_does_not_change_at_all_is_no_smooth_one(self):
        net = digits_cnn()

        def labels(x):
            z = net(x)
            return 8 * nn.functional.one_hot(z.argmax(1), 10) + z - z.detach()

        x, y = digits(8)
        model = Classifier(Call(labels).eval(), output="logits")
        with model.frozen():
            found = smooth(model, x, y, torch.arange(8), eps=1 / 255)
        assert found.status == "fail"
        assert "the loss does not change at all" in found.message

    @pytest.mark.parametrize("eps", [8 / 255, pytest.param(0.15, marks=pytest.mark.slow)])
    @pytest.mark.parametrize("wrap", [lambda net: net.bfloat16(), lambda net: net.half(), Autocast])
    def test_rounding_is_not_called_stairs(self, wrap, eps):
        x, y = digits(8)
        model = Classifier(wrap(copy.deepcopy(digits_cnn())).eval())
        with model.frozen():
            found = smooth(model, x, y, torch.arange(8), eps=eps)
        assert found.status == "pass"
        assert "spread" not in str(found.value)

    @pytest.mark.slow
    def test_declared_chance_is_not_called_rough(self):
        noisy = Classifier(Twin(before=lambda x: x + 0.02 * torch.randn_like(x)).eval(), draws=4)
        found = by_id(audited(noisy, [PGD(eps=EPS, steps=2, eot=2)], n=6, probes=3))
        assert [found[id].status for id in ("Q17", "Q18", "Q20")] == ["not run"] * 3
        assert found["Q10"].status == "pass"
