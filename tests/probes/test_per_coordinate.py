"""Probes of an evaluation under an eps or a range for every value of the input."""

from __future__ import annotations

import pytest
import torch
from nets import generator, linear

from robustkit.attacks import PGD
from robustkit.model.classifier import Classifier
from robustkit.probes.catalogue import larger_radii
from robustkit.probes.samples import Subset

EPS = torch.tensor([0.1, 0.2, 0.3, 0.0, 0.0, 0.4], dtype=torch.float64)
HIGH = torch.tensor([1.0, 1.0, 2.0, 2.0, 4.0, 4.0])
X = HIGH * torch.rand(12, 6, generator=generator(1))
WEIGHT = torch.randn(3, 6, generator=generator(0))
MODEL = Classifier(linear(WEIGHT, -WEIGHT @ HIGH / 2), bounds=(torch.zeros(6), HIGH))
Y = MODEL.logits(X).argmax(1)


@pytest.mark.parametrize(("eps", "unbounded"), [(EPS, "not run"), (EPS + 0.1, "pass"), (0.2, "pass")])
def test_they_try_other_radii_in_the_same_proportions_and_all_of_the_range_where_nothing_is_fixed(eps, unbounded):
    attack, right = PGD(eps=eps, steps=10), torch.ones(12, dtype=torch.bool)
    unbroken = ~attack(MODEL, X, Y).success
    predicted = frozenset(Y.tolist())
    threat = attack.threat(MODEL)
    with MODEL.frozen():
        found = larger_radii(
            Subset(MODEL, threat, (attack,), (0,), X, Y, torch.arange(12), right, unbroken, predicted, 0, 64)
        )
    assert [check.status for check in found.found] == ["pass", unbounded]
    radius = attack.threat(MODEL).radius
    assert [float(r) for r in found.curve.radii] == pytest.approx([0, radius / 4, radius / 2, radius, 2 * radius])
    assert found.curve.accuracy[0].value == 1
    assert found.curve.accuracy[-2].k == int(unbroken.sum())
