"""Attacks and protocols by name, on a model and a batch: the same points as in an evaluation."""

from __future__ import annotations

import pytest
import torch
from nets import digits, digits_cnn

import robustkit
from robustkit.attacks import FGSM, PGD, create
from robustkit.attacks.protocols import Protocol
from robustkit.base.errors import ConfigurationError

EPS = 0.1


@pytest.fixture(scope="module")
def batch():
    data = digits(24)
    x, y = (data.x, data.y) if hasattr(data, "x") else data
    return digits_cnn(), torch.as_tensor(x), torch.as_tensor(y)


def test_what_is_found_unpacks_and_is_the_attack_s_own(batch):
    x_adv, success = robustkit.attack(*batch, "pgd:steps=3", eps=EPS)
    own = PGD(eps=EPS, steps=3)(*batch)
    assert torch.equal(x_adv, own.x_adv)
    assert torch.equal(success, own.success)
    assert repr(own) == f"Adversarial({int(success.sum())} of 24 broken, x_adv (24, 1, 8, 8))"


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_a_protocol_finds_what_an_evaluation_finds(batch, norm):
    eps = {"Linf": EPS, "L2": 0.5, "L1": 2.0}[norm]
    model, x, y = batch
    attacks = ["pgd:steps=2", "square:queries=8,trial=4", "fab:steps=2,close=0.1"]
    protocol = Protocol("mine", tuple(create(attack, norm=norm, eps=eps) for attack in attacks))
    evaluation = robustkit.evaluate(model, (x, y), protocol, evidence=True, accelerate=False)
    found = protocol(model, x, y)
    assert torch.equal(found.success, ~torch.from_numpy(evaluation.ledger.robust))
    assert torch.equal(found.x_adv, evaluation.adversarial()[1])
    assert torch.equal(found.success, found.margin >= 0)
    distances = robustkit.Threat(norm=norm, eps=eps).distance(found.x_adv, x)
    assert torch.equal(found.distance, distances)


def test_a_wrong_row_is_broken_where_it_is(batch):
    model, x, y = batch
    found = robustkit.attack(model, x, (y + 1) % 10, [FGSM(eps=EPS), PGD(eps=EPS)])
    assert torch.equal(found.x_adv[found.steps == 0], x[found.steps == 0])
    assert bool(found.success[found.distance == 0].all())


def test_a_list_of_radii_gives_a_list(batch):
    few, many = robustkit.attack(*batch, "fgsm", eps=[0.001, 0.3])
    assert int(few.success.sum()) < int(many.success.sum())


def test_a_radius_beside_attacks_that_have_their_own_is_refused(batch):
    with pytest.raises(ConfigurationError, match="expected eps only with attacks given by name"):
        robustkit.attack(*batch, PGD(), eps=EPS)
    with pytest.raises(ConfigurationError, match="pgdd"):
        robustkit.attack(*batch, "pgdd", eps=EPS)


def test_evaluate_takes_names_with_a_radius(batch):
    model, x, y = batch
    evaluation = robustkit.evaluate(model, (x, y), ["fgsm", "pgd:steps=2,eps=0.05"], norm="Linf", eps=0.05)
    assert evaluation.threat.radius == 0.05
    assert repr(evaluation).startswith("<Evaluation: clean ")


def test_targeted_attacks_go_one_after_the_other(batch):
    model, x, y = batch
    towards = [FGSM(eps=0.3, target=3), PGD(eps=0.3, target=3, steps=3)]
    found = robustkit.attack(model, x, y, towards)
    assert torch.equal(found.success, model(found.x_adv).argmax(1) == 3)
