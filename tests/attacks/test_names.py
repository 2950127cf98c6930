"""What attacks and their accuracies are called."""

from __future__ import annotations

import pytest

from robustkit.attacks import APGD, FGSM, PGD, Noise, Square
from robustkit.attacks.names import accuracy_name, attack_name, measured_alone, strength


@pytest.mark.parametrize(("label", "name"), [
    ("apgd-ce-close", "APGD-CE (near-boundary samples)"), ("fab-t-close", "FAB-T (near-boundary samples)"),
    ("noise", "Random noise"), ("pgd(steps=5)", "PGD (5 steps)"), ("mine", "mine"), ("mine-close", "mine-close"),
    ("pgd(loss=ce,restarts=1)", "PGD (loss=ce, 1 restart)"), ("mine(steps=5)", "mine(steps=5)"),
])  # fmt: skip
def test_a_label_has_a_plain_name(label, name):
    assert attack_name(label) == name
    assert accuracy_name(label, False) == name
    assert accuracy_name(label, True) == f"after {name}"


@pytest.mark.parametrize(("attack", "said"), [
    (FGSM(), "FGSM"), (PGD(steps=20), "PGD (20 steps)"), (PGD(steps=1, restarts=3), "PGD (1 step, 3 restarts)"),
    (APGD(loss="dlr", targets=9), "APGD-T (100 steps, 9 targets)"), (Square(), "Square (5,000 queries)"),
    (Noise(eot=4), "Random noise (10 restarts, 4 EOT samples)"),
])  # fmt: skip
def test_an_attack_is_told_with_its_strength(attack, said):
    assert strength(attack.label, attack.settings()) == said


def test_a_note_on_the_name_stays_before_the_strength():
    named = strength("apgd-ce-close", {"steps": 100, "restarts": 5})
    assert named == "APGD-CE (near-boundary samples; 100 steps, 5 restarts)"


def test_nothing_is_said_twice():
    named = strength("square-pgd-close(restarts=9)", {"steps": 20, "restarts": 9})
    assert named == "Square-PGD (near-boundary samples; 9 restarts; 20 steps)"
    assert strength("mine(steps=5)", {"steps": 5}) == "mine(steps=5)"


@pytest.mark.parametrize(("place", "cascade", "settings", "alone"), [
    (0, True, {}, True), (1, True, {}, False), (1, False, {}, True), (1, False, {"close": None}, True),
    (1, False, {"close": 0.5}, False),
])  # fmt: skip
def test_an_accuracy_is_an_attacks_own_where_it_went_after_every_sample(place, cascade, settings, alone):
    assert measured_alone(place, cascade, settings) is alone
