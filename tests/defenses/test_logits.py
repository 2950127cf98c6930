"""A classifier as a module, and the held-out samples that defenses are fitted on."""

from __future__ import annotations

import pytest
import torch
from nets import images, labels, smooth_cnn
from torch import nn

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.defenses.logits import Logits, held_out
from robustkit.model.classifier import Classifier


@pytest.fixture
def classifier():
    return Classifier(smooth_cnn(dtype=torch.float32), mean=(0.4,), std=(0.2,))


def test_the_module_is_the_classifier_normalisation_included(classifier):
    x = images(5, torch.float32)
    module = Logits(classifier)
    assert module(x).equal(classifier.logits(x))
    assert module.bounds == classifier.bounds


def test_mean_and_std_move_and_are_saved_with_the_module_and_the_classifier_keeps_its_own(classifier):
    module = Logits(classifier)
    assert {"mean", "std"} <= module.state_dict().keys()
    x = images(3)
    expected = module(x.float())
    torch.testing.assert_close(module.double()(x).float(), expected, rtol=1e-4, atol=1e-4)
    assert module.mean.dtype == torch.float64
    assert classifier.mean.dtype == torch.float32


def test_a_bare_model_takes_inputs_in_0_to_1():
    assert Logits(nn.Flatten()).bounds == (0.0, 1.0)


@pytest.mark.parametrize("batch_size", [1, 4, 9])
def test_held_out_logits_are_those_of_the_model_whatever_the_batch_size(classifier, batch_size):
    x, y = images(9, torch.float32), labels(9)
    logits, found = held_out(classifier, x, y, batch_size)
    with classifier.frozen():
        torch.testing.assert_close(logits, classifier.logits(x).detach().double(), rtol=1e-5, atol=1e-6)
    assert logits.dtype == torch.float64
    assert not logits.requires_grad
    assert found.equal(y)


def test_held_out_samples_have_one_label_each_and_a_batch_at_least_one_row(classifier):
    x, y = images(4, torch.float32), labels(4)
    with pytest.raises(ConfigurationError, match="expected batch_size to be an integer >= 1, got 0"):
        held_out(classifier, x, y, 0)
    with pytest.raises(InvalidEvaluation, match="expected one label per sample, got 3 for 4"):
        held_out(classifier, x, y[:3], 2)
    with pytest.raises(InvalidEvaluation, match="labels"):
        held_out(classifier, x, y + 9, 2)
