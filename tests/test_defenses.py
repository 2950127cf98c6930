"""Training."""

from __future__ import annotations

import pytest
import torch
from nets import digits, generator, images, labels, robust_accuracy, smooth_cnn

from robustkit.attacks import PGD
from robustkit.classifier import Classifier
from robustkit.data import batches
from robustkit.datasets import load_data
from robustkit.defenses import Diverged, PGDTraining, Standard, fit
from robustkit.errors import ConfigurationError, InvalidEvaluation
from robustkit.models import create


def trained(objective, epochs, seed=0):
    samples = next(iter(batches(load_data("digits", split="train"), 600)))
    classifier = Classifier(create("cnn", (1, 8, 8), 10))
    fit(classifier, samples.x, samples.y, objective, epochs=epochs, seed=seed)
    return classifier


def test_adversarial_training_makes_the_model_robust_and_keeps_it_accurate():
    x, y = digits(200)
    standard, hardened = trained(Standard(), 6), trained(PGDTraining(attack=PGD(eps=0.1, steps=4)), 8)
    attack = PGD(eps=0.1, steps=20)
    assert robust_accuracy(attack, hardened, x, y) > robust_accuracy(attack, standard, x, y) + 0.1
    assert (hardened.logits(x).argmax(1) == y).double().mean() > 0.9


def test_training_repeats_bit_for_bit_and_follows_its_seed():
    first, again, other = (trained(Standard(), 1, seed).module.state_dict() for seed in (0, 0, 1))
    assert all(first[name].equal(again[name]) for name in first)
    assert not all(first[name].equal(other[name]) for name in first)


def test_a_radius_of_zero_is_ordinary_training():
    net, x, y = smooth_cnn().eval(), images(6), labels(6)
    ids = torch.arange(6)
    still = PGDTraining(attack=PGD(eps=0, steps=2, step_size=0))
    assert still.loss(Classifier(net), x, y, ids, 0).equal(Standard().loss(Classifier(net), x, y, ids, 0))


def test_the_inner_attack_leaves_batch_statistics_and_mode_alone():
    net = smooth_cnn().train()
    before = net[1].running_mean.clone()
    with Classifier(net).frozen():
        pass
    PGDTraining(attack=PGD(eps=0.1, steps=3)).loss(Classifier(net), images(6), labels(6), torch.arange(6), 0)
    once = net[1].running_mean.clone()
    assert not once.equal(before)  # the outer pass, in training mode
    assert net.training
    assert int(net[1].num_batches_tracked) == 1


def test_wrong_settings_and_data_are_refused():
    classifier = Classifier(create("cnn", (1, 8, 8), 10))
    x, y = digits(20)
    with pytest.raises(ConfigurationError, match="epochs >= 1"):
        fit(classifier, x, y, Standard(), epochs=0)
    with pytest.raises(InvalidEvaluation, match="grey levels"):
        fit(classifier, x * 255, y, Standard(), epochs=1)


def test_divergence_is_named():
    classifier = Classifier(create("cnn", (1, 8, 8), 10))
    with torch.no_grad():
        next(classifier.module.parameters()).fill_(float("nan"))
    with pytest.raises(Diverged, match="lower lr"):
        fit(classifier, torch.rand(8, 1, 8, 8, generator=generator()), labels(8), Standard(), epochs=1)
