"""The gradient consistency check."""

from __future__ import annotations

import copy

import pytest
import torch
from nets import digits, digits_cnn
from torch import nn
from torch.nn.functional import one_hot
from twins import Call, Twin, twins

from robustkit.attacks.threat import Threat
from robustkit.checks.gradient_consistency import first_order, first_order_diagnostic
from robustkit.defenses.ensemble import Ensemble
from robustkit.model.bpda import BPDA
from robustkit.model.classifier import Classifier

THREATS = [("Linf", 0.1), ("Linf", 1 / 255), ("L2", 0.5), ("L1", 2.0)]


def joined(value, stand_in):
    """Returns the value of one with the gradient of the other."""
    return value.detach() + stand_in - stand_in.detach()


def labelled(z):
    return 8 * one_hot(z.argmax(1), 10).to(z.dtype)


def other_net():
    """Returns a network that has nothing to do with the digits."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 10))
    for number, part in enumerate(net.parameters()):
        nn.init.normal_(part, generator=torch.Generator().manual_seed(number))
    return net


def vote(x, net):
    views = [net(x), net(x.roll(1, -1)), net(x.roll(-1, -1))]
    return joined(sum(map(labelled, views)), sum(view.softmax(1) for view in views))


def some_classes(x, net, other):
    z = net(x)
    lies = torch.isin(z.argmax(1), torch.tensor([3, 8])).unsqueeze(1)
    return torch.where(lies, joined(labelled(z), other(x)), z)


def checked(model, norm="Linf", eps=0.1, n=48, unbroken=None):
    x, y = digits(n)
    model = Classifier(model.eval())
    with model.frozen():
        with torch.no_grad():
            right = model.logits(x).argmax(1) == y
        x, y, ids = x[right], y[right], torch.arange(n)[right]
        found = first_order(model, x, y, ids, Threat(norm=norm, eps=eps))
    return first_order_diagnostic(found, y, None if unbroken is None else unbroken(y))


class TestHonestModels:
    @pytest.mark.parametrize(("norm", "eps"), THREATS)
    def test_a_plain_network_keeps_what_its_gradient_promises(self, norm, eps):
        found = checked(digits_cnn(), norm, eps)
        assert found.status == "pass"
        assert 0.5 < found.value < 1.5

    @pytest.mark.parametrize("rule", ["mean_logits", "mean_probabilities", "hard_vote"])
    def test_an_ensemble_that_shows_its_soft_votes_passes(self, rule):
        assert checked(Ensemble([digits_cnn(), twins()["saturated sigmoid"]], rule), eps=0.05).status == "pass"

    @pytest.mark.parametrize("scale", [1e-3, 100.0])
    def test_the_scale_of_the_logits_does_not_matter(self, scale):
        assert checked(Twin(after=lambda z: scale * z)).status == "pass"

    def test_a_gradient_of_the_right_direction_may_have_another_length(self):
        net = digits_cnn()
        assert checked(Call(lambda x: joined(net(x), 0.01 * net(x)))).status == "pass"

    def test_levels_of_a_declared_or_ordinary_kind_pass(self):
        stored = Twin(lambda x: joined((x * 255).round() / 255, x))
        assert checked(stored, eps=1 / 255).status == "pass"
        coarse = nn.Sequential(BPDA(lambda x: (x * 8).round() / 8), digits_cnn())
        assert [checked(coarse, eps=eps).status for eps in (0.1, 2 / 255)] == ["pass", "pass"]

    def test_what_half_precision_cannot_show_is_not_held_against_a_model(self):
        half = copy.deepcopy(digits_cnn()).bfloat16()
        assert checked(half, eps=0.1).status == "pass"
        assert checked(half, eps=1e-4).status == "not run"

    def test_without_a_gradient_nothing_is_said_that_the_gradient_check_does_not_say(self):
        found = checked(twins()["quantised input"])
        assert (found.status, found.value) == ("not run", None)
        assert "Q07 gradient check" in found.message


class TestFalseGradients:
    @pytest.mark.parametrize(("norm", "eps"), THREATS)
    @pytest.mark.parametrize("declared", [False, True])
    def test_labels_with_the_gradient_of_another_network_fail(self, norm, eps, declared):
        net, other = digits_cnn(), other_net()
        straight = Call(lambda x: joined(labelled(net(x)), other(x)))
        found = checked(BPDA(lambda x: labelled(net(x)), other) if declared else straight, norm, eps)
        assert found.status == "fail"
        assert found.value == pytest.approx(0, abs=1e-3)
        assert "labels, votes or rounded" in found.message
        assert "HopSkipJump" in found.message

    @pytest.mark.parametrize("scale", [0.01, 1, 100])
    def test_soft_scores_with_the_gradient_of_another_network_fail_whatever_its_length(self, scale):
        net, other = digits_cnn(), other_net()
        assert checked(Call(lambda x: joined(net(x), scale * other(x)))).status == "fail"

    def test_votes_with_the_gradient_of_their_mean_fail(self):
        net = digits_cnn()
        assert checked(Call(lambda x: vote(x, net)), eps=0.05).status == "fail"

    @pytest.mark.parametrize("name", ["false gradient", "wrong sign", "ripples on the logits", "fast sine"])
    def test_known_disguises_fail(self, name):
        assert checked(twins()[name]).status == "fail"

    def test_a_false_gradient_for_a_few_classes_is_named_by_class(self):
        net, other = digits_cnn(), other_net()
        found = checked(Call(lambda x: some_classes(x, net, other)))
        assert found.status == "fail"
        assert "5 of 5 samples of class 8" in found.message
        assert "of class 4" not in found.message

    def test_survivors_are_judged_by_themselves(self):
        net, other = digits_cnn(), other_net()
        few = Call(lambda x: some_classes(x, net, other))
        found = checked(few, n=24, unbroken=lambda y: torch.isin(y, torch.tensor([3, 8])))
        assert found.status == "fail"
        assert "samples that survive" in found.message
