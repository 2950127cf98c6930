"""Probes of an evaluation under an eps or a range for every value of the input."""

from __future__ import annotations

import pytest
import torch
from nets import uneven

from robustkit.attacks import PGD
from robustkit.probes.catalogue import larger_radii
from robustkit.probes.samples import Subset

MODEL, X, Y, EPS, _ = uneven(12)


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
