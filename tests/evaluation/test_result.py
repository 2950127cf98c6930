"""The figures of single attacks, each named for what was measured."""

from __future__ import annotations

import numpy as np
import pytest
from nets import digits, digits_cnn

from robustkit.attacks import APGD, FGSM, PGD, Noise
from robustkit.attacks.protocols import Protocol, custom
from robustkit.evaluator import evaluate
from robustkit.model.classifier import Classifier

EPS = 0.1
ATTACKS = (PGD(eps=EPS, steps=5), FGSM(eps=EPS), Noise(eps=EPS, restarts=2))


@pytest.fixture(scope="module")
def both():
    """One model under the same attacks, each alone and as a cascade."""
    classifier = Classifier(digits_cnn(), num_classes=10)
    protocols = custom(ATTACKS), Protocol("mine", ATTACKS)
    return [evaluate(classifier, digits(60), protocol, probes=0, examples=0) for protocol in protocols]


def test_the_accuracy_of_an_attack_alone_is_known_where_it_saw_every_sample(both):
    alone, cascade = both
    for label in alone.ledger.attacks:
        assert alone.alone(label) == alone.accuracy(label)
        assert alone.remaining(label) is None
        assert cascade.remaining(label) == cascade.accuracy(label)
    assert cascade.alone("pgd") == alone.alone("pgd")
    assert cascade.alone("fgsm") is cascade.alone("noise") is None
    # What noise leaves after the others says nothing of noise.
    assert cascade.remaining("noise").k < alone.alone("noise").k


def test_success_counts_the_samples_that_were_attacked(both):
    alone, cascade = both
    right = int(alone.ledger.right.sum())
    for label in alone.ledger.attacks:
        assert alone.success_of_attacked(label) == alone.attack_success(label)
    broken = cascade.attack_success("pgd").k
    assert broken > 0
    assert cascade.success_of_attacked("fgsm").n == right - broken
    assert cascade.attack_success("fgsm").n == right


def test_an_attack_on_near_boundary_samples_attacked_no_others():
    attacks = [FGSM(eps=0.02), APGD(eps=0.02, steps=4, close=0.5)]
    found = evaluate(Classifier(digits_cnn(), num_classes=10), digits(60), custom(attacks), probes=0, examples=0)
    label = found.ledger.attacks[1]
    given = found.ledger.right & (found.ledger[f"{label}/prediction"] >= 0)
    assert found.alone(label) is None
    assert 0 < found.success_of_attacked(label).n < given.sum()
    assert np.array_equal(found.attacked("fgsm"), found.ledger.right)


def test_the_card_names_what_remains_as_such(both):
    alone, cascade = (one._repr_html_() for one in both)
    for name in ("FGSM", "Random noise"):
        assert f">{name}</th>" in alone
        assert f">after {name}</th>" in cascade
    assert ">PGD</th>" in cascade
    assert "PGD (5 steps)" in cascade
