"""Patches: a square anywhere, measured and projected exactly, and the attack that fills it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from nets import generator, linear

from robustkit.attacks import Patch, Threat
from robustkit.attacks.protocols import get_protocol
from robustkit.attacks.rows import Rows
from robustkit.attacks.threat import ThreatViolation
from robustkit.maths.windows import side_of

X = 0.1 + 0.8 * torch.rand(3, 2, 5, 7, generator=generator())


def squares(side):
    """Yields every square of a picture of 5 x 7 as slices."""
    for top in range(5 - side + 1):
        for left in range(7 - side + 1):
            yield slice(top, top + side), slice(left, left + side)


def test_the_size_is_the_side_of_the_smallest_square_around_all_that_changed():
    changed = torch.zeros(4, 2, 5, 7, dtype=torch.bool)
    changed[1, 0, 4, 6] = True
    changed[2, 0, 0, 1] = changed[2, 1, 2, 2] = True
    changed[3, 0, 1, 0] = changed[3, 1, 1, 6] = True
    assert side_of(changed).tolist() == [0, 1, 3, 7]
    assert side_of(changed[:, 0, 0]).tolist() == [0, 0, 1, 0]


def test_a_pixel_outside_the_square_is_refused_by_one_ulp():
    threat, x_adv = Threat(norm="patch", eps=3), X.clone()
    x_adv[:, :, 1:4, 2:5] = 1.0
    threat.verify(x_adv, X, "test")
    x_adv[2, 1, 0, 3] = torch.nextafter(X[2, 1, 0, 3], torch.tensor(1.0))
    with pytest.raises(ThreatViolation, match=r"within patch 3 .* got row 2 at 4"):
        threat.verify(x_adv, X, "test")


@pytest.mark.parametrize("side", [0, 1, 3, 5, 9])
def test_the_projection_is_the_nearest_point_of_all_squares(side):
    threat = Threat(norm="patch", eps=side)
    point = X + torch.randn(X.shape, generator=generator(1))
    found = threat.project(point, X, *threat.limits(X))
    threat.verify(found, X, "test")
    assert threat.project(found, X, *threat.limits(X)).equal(found)
    best = (X - point).flatten(1).norm(dim=1)
    for rows, columns in squares(min(side, 5)) if side <= 5 else []:
        other = X.clone()
        other[:, :, rows, columns] = point.clamp(0, 1)[:, :, rows, columns]
        best = torch.minimum(best, (other - point).flatten(1).norm(dim=1))
    best = best if side <= 5 else (point.clamp(0, 1) - point).flatten(1).norm(dim=1)
    torch.testing.assert_close((found - point).flatten(1).norm(dim=1), best)


def test_on_linear_models_it_finds_the_place_and_the_values_that_break_and_nothing_where_none_do():
    weight = torch.randn(2, 70, generator=generator(3))
    x = torch.rand(40, 2, 5, 7, generator=generator(4))
    net = linear(weight, -weight @ torch.full((70,), 0.5))
    y = net(x).argmax(1)
    slope = (weight[1 - y] - weight[y]).view_as(x)
    rise = torch.maximum(slope * (1 - x), -slope * x)
    most = torch.stack([rise[:, :, rows, columns].flatten(1).sum(1) for rows, columns in squares(1)]).amax(0)
    gap = (net(x)[:, 0] - net(x)[:, 1]).abs()
    clear = (most - gap).abs() > 1e-3
    found = Patch(eps=1, steps=20, restarts=1)(net, x, y)
    assert 0 < int(found.success.sum()) < len(x)
    assert found.success[clear].equal((most > gap)[clear])
    assert (found.distance <= 1).all()


def test_later_starts_are_at_other_places():
    promise = torch.zeros(3, 5, 7)
    promise[:, 1, 1], promise[:, 4, 5], promise[:, 0, 6] = 3.0, 2.0, 1.0
    rows = Rows(x=X, restart=torch.arange(3))
    problem = SimpleNamespace(threat=Threat(norm="patch", eps=1))
    covered = Patch(eps=1, restarts=3)._covered(problem, rows, promise)
    assert covered.any(1).nonzero().tolist() == [[0, 1, 1], [1, 4, 5], [2, 0, 6]]


def test_the_default_protocol_is_patch_with_two_losses():
    fast = get_protocol("fast", norm="patch", eps=4, classes=10)
    assert [(one.name, one.loss) for one in fast.attacks] == [("patch", "ce"), ("patch", "dlr")]
