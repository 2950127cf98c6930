"""Adversarial examples transferred from a surrogate."""

from __future__ import annotations

import pytest
from nets import digits, digits_cnn

from robustkit.attacks import PGD, Transfer
from robustkit.base.errors import ConfigurationError
from robustkit.model.classifier import Classifier


class TestTransfer:
    def test_it_breaks_the_target_without_asking_for_gradients(self):
        x, y = digits(60)
        net = digits_cnn()
        target = Classifier(lambda batch: net((batch * 16).round() / 16).detach())
        found = Transfer(surrogate=Classifier(net), eps=0.2)(target, x, y)
        assert float(found.success.double().mean()) > 0.5
        assert target.tally.backwards == 0
        assert target.tally.forwards < 3 * 60

    def test_its_settings_name_the_surrogate_and_the_attack(self):
        attack = Transfer(surrogate=Classifier(digits_cnn()), eps=0.2, attack=PGD(eps=0.2, steps=3))
        assert attack.settings()["attack.steps"] == 3
        assert attack.settings()["surrogate"] == "Sequential"

    def test_a_missing_surrogate_and_another_budget_are_refused(self):
        with pytest.raises(ConfigurationError, match="expected a surrogate"):
            Transfer(eps=0.1)
        with pytest.raises(ConfigurationError, match=r"expected an attack within Linf 0.1, got Linf 0.2"):
            Transfer(surrogate=Classifier(digits_cnn()), eps=0.1, attack=PGD(eps=0.2))
