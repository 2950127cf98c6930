"""Fixtures of training."""

from __future__ import annotations

import pytest
import torch
from tiny_training import TINY, data, net

from robustkit.defenses import fit
from robustkit.model.classifier import Classifier


@pytest.fixture(scope="module")
def start():
    """The weights every comparison begins with, dropout included."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return net().state_dict()


@pytest.fixture
def trained(start):
    def train(objective, **arguments):
        model = net()
        model.load_state_dict(start)
        classifier = Classifier(model)
        result = fit(classifier, *data(), objective, **{**TINY, **arguments})
        return model.state_dict(), result

    return train
