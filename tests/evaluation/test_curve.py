"""Robust accuracy against eps, and minimal adversarial perturbations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, generator, linear

import robustkit
from robustkit.attacks import FAB, FMN, PGD
from robustkit.base.errors import ConfigurationError
from robustkit.evaluation.curve import minimal_distances, security_curve
from robustkit.model.classifier import Classifier


class TestCurve:
    def test_it_is_what_each_radius_gives_alone_and_never_rises(self):
        x, y = digits(60)
        radii = ("1/10", 0.02, 0.06, 0.2)
        attacks = [PGD(steps=10)]
        found = security_curve(digits_cnn(), (x, y), attacks, radii)
        assert found.radii == (0.02, 0.06, "1/10", 0.2)
        shares = [point.value for point in found.accuracy]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > shares[-1]
        broken = np.zeros(60, dtype=bool)
        for eps, share in zip(found.radii, found.accuracy, strict=True):
            alone = robustkit.evaluate(digits_cnn(), (x, y), [PGD(steps=10, eps=eps)])
            broken |= ~alone.ledger.robust
            assert share.k == 60 - broken.sum()

    def test_a_broken_sample_is_not_attacked_again(self):
        x, y = digits(60)
        classifier = Classifier(digits_cnn())
        security_curve(classifier, (x, y), [PGD(steps=10)], [0.3])
        once, classifier = classifier.tally.backwards, Classifier(digits_cnn())
        security_curve(classifier, (x, y), [PGD(steps=10)], [0.3, 0.31, 0.32, 0.33])
        assert classifier.tally.backwards < 1.5 * once

    def test_equal_radii_and_none_are_refused(self):
        for radii in ([], [0.1, "1/10"]):
            with pytest.raises(ConfigurationError, match="distinct radii"):
                security_curve(digits_cnn(), digits(5), [PGD()], radii)

    @pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
    def test_minimal_distances_are_those_of_the_closed_form(self, norm):
        weight = torch.randn(1, 20, dtype=torch.float64, generator=generator(2))
        net = linear(torch.cat([-weight, weight]))
        x = 0.5 + 0.01 * torch.randn(12, 20, dtype=torch.float64, generator=generator(3))
        x = x - 0.03 * weight * (weight @ (x - 0.5).T).T  # close to the boundary, which goes through the middle
        net[1].bias.data = net[1].weight.data @ torch.full((20,), -0.5, dtype=torch.float64)
        y = net(x).argmax(1)
        dual = {"Linf": 1, "L2": 2, "L1": math.inf}[norm]
        exact = (weight @ (x - 0.5).T).abs().squeeze(0) / weight.norm(dual)
        y[0] = 1 - y[0]
        found = minimal_distances(net, (x, y), [FMN(norm=norm, eps="inf"), FAB(norm=norm, eps="inf")])
        assert found.values[0] == 0
        ratio = found.values[1:] / exact[1:].numpy()
        assert ratio.min() >= 1 - 1e-9
        assert ratio.max() <= 1.05
        assert found.accuracy(float(found.values[1:].max())).k == 0
        assert found.quantile(0.5) == np.sort(found.values)[6]

    def test_only_minimal_attacks_of_one_norm_measure_distances(self):
        for attacks in ([PGD(eps=0.1)], [FMN(norm="L2", eps="inf"), FMN(norm="L1", eps="inf")]):
            with pytest.raises(ConfigurationError, match="minimal attacks of one norm"):
                minimal_distances(digits_cnn(), digits(5), attacks)
