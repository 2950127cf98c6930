"""L0: how many values or pixels are changed, counted exactly, and the attacks that change few."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from nets import generator, linear

from robustkit.attacks import SigmaZero, SparseRS, Threat, create
from robustkit.attacks.protocols import get_protocol
from robustkit.attacks.threat import ThreatViolation
from robustkit.base.errors import ConfigurationError
from robustkit.maths.norms import SPARSE
from robustkit.model.classifier import Classifier

X = torch.rand(3, 2, 2, 3, generator=generator())


def fewest(slope, room, gap):
    """Returns how many values must move, by `room` at most, to raise <slope, delta> by `gap`: the steepest first."""
    gain = np.sort((slope.abs() * room).numpy(), axis=1)[:, ::-1].cumsum(1)
    return torch.from_numpy((gain < gap.numpy()[:, None]).sum(1) + 1)


def two_classes(n=16, size=20):
    """Returns a linear classifier with two classes, inputs, labels, and how many values must change."""
    weight = torch.randn(2, size, generator=generator(3), dtype=torch.float64)
    weight[1] = 0.8 * weight[0] + 0.6 * weight[1]
    x = torch.rand(n, size, generator=generator(4), dtype=torch.float64)
    net = linear(weight)
    z = net(x).detach()
    y = z.argmax(1)
    slope = weight[1 - y] - weight[y]
    return net, x, y, fewest(slope, torch.where(slope > 0, 1 - x, x), (z[:, 0] - z[:, 1]).abs())


@pytest.mark.parametrize("norm", SPARSE)
def test_one_value_too_many_is_refused_by_one_ulp(norm):
    threat, x_adv = Threat(norm=norm, eps=2), X.clone()
    x_adv[:, :, 0, 0] = 1.0
    x_adv[:, :, 1, 1] = 0.0
    if norm == "L0":
        assert threat.distance(x_adv, X).tolist() == [4, 4, 4]
        x_adv[:, 1] = X[:, 1]
    assert threat.distance(x_adv, X).tolist() == [2, 2, 2]
    threat.verify(x_adv, X, "test")
    x_adv[1, 0, 1, 2] = torch.nextafter(X[1, 0, 1, 2], torch.tensor(2.0))
    with pytest.raises(ThreatViolation, match=f"within {norm} 2 .* got row 1 at 3"):
        threat.verify(x_adv, X, "test")
    x_adv[1] = X[1]
    x_adv[2, 0, 0, 0] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    with pytest.raises(ThreatViolation, match="row 2"):
        threat.verify(x_adv, X, "test")


@pytest.mark.parametrize("norm", SPARSE)
@pytest.mark.parametrize("eps", [0, 1, 3, 99])
def test_the_projection_is_the_nearest_point_of_all_choices_of_places(norm, eps):
    threat = Threat(norm=norm, eps=eps)
    point = X + torch.randn(X.shape, generator=generator(1))
    found = threat.project(point, X, *threat.limits(X))
    threat.verify(found, X, "test")
    assert threat.project(found, X, *threat.limits(X)).equal(found)
    channels, places = (2, 6) if norm == "L0-pixels" else (1, 12)
    best = torch.full((3,), torch.inf)
    for chosen in itertools.combinations(range(places), min(eps, places)):
        other = X.reshape(3, channels, places).clone()
        other[..., chosen] = point.clamp(0, 1).reshape(3, channels, places)[..., chosen]
        best = torch.minimum(best, (other.view_as(X) - point).flatten(1).norm(dim=1))
    torch.testing.assert_close((found - point).flatten(1).norm(dim=1), best)


@pytest.mark.parametrize("eps", ["8/255", 0.5, -1, torch.tensor([1.0, 2.0])])
def test_an_eps_that_counts_nothing_is_refused(eps):
    with pytest.raises(ConfigurationError, match=r"expected a whole number as eps in L0|expected a number >= 0"):
        SigmaZero(eps=eps)


def test_on_linear_models_sigma_zero_finds_the_fewest_values_and_never_fewer():
    net, x, y, exact = two_classes()
    found = SigmaZero(eps="inf", steps=200)(net, x, y)
    assert found.success.all()
    assert (found.distance >= exact).all()
    assert (found.distance == exact).double().mean() >= 0.8
    assert (found.distance <= exact + 1).all()


def test_on_linear_models_sparse_rs_succeeds_with_the_fewest_values_and_never_with_fewer():
    net, x, y, exact = two_classes()
    for eps in (1, 2, 3):
        success = SparseRS(eps=eps, queries=400)(net, x, y).success
        assert not success[exact > eps].any()
        assert success[exact <= eps].double().mean() >= 0.9


@pytest.mark.parametrize("kind", [SigmaZero, SparseRS])
@pytest.mark.parametrize("norm", SPARSE)
def test_what_is_fixed_stays_bit_for_bit_and_ranges_are_those_of_each_value(kind, norm):
    low, high = torch.tensor([0.0, -2.0, 0.0, 1.0]), torch.tensor([1.0, 3.0, 10.0, 4.0])
    x = low + (high - low) * torch.rand(8, 4, generator=generator(2))
    net = linear(torch.randn(2, 4, generator=generator(5)), torch.zeros(2))
    net[1].bias.data = -net(x).mean(0)
    model = Classifier(net, bounds=(low, high))
    y = model.logits(x).argmax(1)
    budget = {"steps": 50} if kind is SigmaZero else {"queries": 50}
    attack = kind(norm=norm, eps=2, mask=torch.tensor([True, True, True, False]), **budget)
    found = attack(model, x, y)
    assert found.success.any()
    assert found.x_adv[:, 3].equal(x[:, 3])
    assert attack.threat(model).contains(found.x_adv, x).all()
    assert (found.distance <= 2).all()


def test_sparse_rs_needs_ends_to_try_and_sigma_zero_does_not():
    weight = torch.tensor([[1.0, 0.0, 0.5, 0.0], [0.0, 2.0, 0.0, 0.0]])
    net = Classifier(linear(weight), bounds=(-float("inf"), float("inf")), output="logits")
    x, y = torch.zeros(1, 4) + torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([0])
    with pytest.raises(ConfigurationError, match="sparse-rs: expected a finite input range"):
        SparseRS(eps=1)(net, x, y)
    assert SigmaZero(eps=1, steps=50)(net, x, y).success.all()


def test_the_default_protocol_knows_l0_and_published_ones_say_that_they_do_not():
    fast = get_protocol("fast", norm="L0-pixels", eps=3, classes=10)
    assert [attack.name for attack in fast.attacks] == ["sigma-zero", "sparse-rs"]
    with pytest.raises(ConfigurationError, match=r"protocol autoattack: expected .*Linf"):
        get_protocol("autoattack", norm="L0", eps=3, classes=10)
    assert create("sigma-zero:steps=7", norm="L0", eps="3").steps == 7
