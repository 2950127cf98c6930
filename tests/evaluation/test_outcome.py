"""Outcomes of 8-bit images, whose adversarial points may be rounded."""

from __future__ import annotations

import pytest
import torch
from nets import digits, digits_cnn, generator

import robustkit
from robustkit.attacks import APGD, FGSM, PGD
from robustkit.attacks.threat import Threat
from robustkit.base.errors import InvalidEvaluation

EPS = 0.1


class TestLevels:
    def test_snapping_stays_inside_and_on_the_grid(self):
        for norm, eps in (("Linf", "8/255"), ("L2", 0.5), ("L1", 3.0)):
            threat = Threat(norm=norm, eps=eps, levels=256)
            x = torch.randint(256, (40, 1, 5, 5), generator=generator(1)).float() / 255
            lower, upper = threat.limits(x)
            far = x + torch.randn(x.shape, generator=generator(2))
            found = threat.snap(threat.project(far, x, lower, upper), x)
            threat.verify(found, x, "snap")
            assert torch.equal((found * 255).round() / 255, found)
            assert bool((threat.distance(found, x) > 0.5 * threat.radius).all())

    def test_eight_levels_of_linf_are_eight_levels(self):
        threat = Threat(eps="8/255", levels=256)
        x = (torch.arange(256) / 255).view(1, -1)
        lower, upper = threat.limits(x)
        assert torch.equal((upper * 255).round(), (torch.arange(256) + 8).clamp(max=255).float().view(1, -1))
        assert torch.equal((lower * 255).round(), (torch.arange(256) - 8).clamp(min=0).float().view(1, -1))
        threat.verify(upper, x, "limits")

    def test_inputs_between_the_levels_are_refused(self):
        with pytest.raises(InvalidEvaluation, match="on a grid of 256 levels"):
            PGD(levels=256)(digits_cnn(), digits(4)[0] * 0.9, digits(4)[1])

    @pytest.mark.parametrize("attack", [PGD(eps="8/255", levels=256), APGD(eps="8/255", steps=20, levels=256)])
    def test_a_search_on_the_levels_finds_points_that_can_be_stored(self, attack):
        x, y = stored(40)
        found = attack(digits_cnn(), x, y)
        assert torch.equal((found.x_adv * 255).round() / 255, found.x_adv)
        assert bool(((digits_cnn()(found.x_adv).argmax(1) != y) == found.success).all())

    def test_the_evaluation_says_what_rounding_leaves(self):
        x, y = stored(60)
        found = robustkit.evaluate(digits_cnn(), (x, y), [FGSM(eps="16/255"), PGD(eps="16/255", steps=10)])
        assert found.on_grid
        assert found.robust_accuracy_stored.k >= found.robust_accuracy.k
        on_levels = robustkit.evaluate(digits_cnn(), (x, y), [PGD(eps="16/255", steps=10, levels=256)])
        assert on_levels.robust_accuracy_stored.k == on_levels.robust_accuracy.k < on_levels.clean_accuracy.k
        assert robustkit.evaluate(digits_cnn(), digits(10), [FGSM(eps=EPS)]).robust_accuracy_stored is None


def stored(n: int):
    """Returns digits as 8-bit images."""
    x, y = digits(n)
    return (x * 255).round() / 255, y
