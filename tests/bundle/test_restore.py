"""An evaluation restored from its ledger, and attacks from what a report says of them."""

from __future__ import annotations

import dataclasses

import pytest
from bundles import EPS, Mine, X, Y, write
from nets import digits, digits_cnn

import robustkit
from robustkit.attacks import FGSM, PGD, Noise, Square
from robustkit.attacks.protocols import Protocol
from robustkit.base.errors import ConfigurationError
from robustkit.bundle import restore
from robustkit.model.classifier import Classifier
from robustkit.report.build import build_audit
from robustkit.report.document.report import AttackResult, GateResult


def test_an_attack_nobody_here_knows_leaves_its_kind_on_trust(tmp_path, monkeypatch):
    write(tmp_path / "b", (Mine(eps=EPS), PGD(eps=EPS, steps=3)))
    known = {name: kind for name, kind in restore.known_attacks().items() if kind.__name__ != "Mine"}
    monkeypatch.setattr(restore, "known_attacks", lambda: known)
    result = robustkit.verify(tmp_path / "b", Classifier(digits_cnn()), (X, Y))
    assert result.holds, result.false
    assert "protocol, fingerprint and what the attacks are worth" in result.trusted
    (left_out,) = result.unchecked
    assert left_out.note.startswith("attack mine is not known here")


def result(attack, **changes) -> AttackResult:
    """Returns what a report says of an attack that did nothing."""
    said = {field.name: None for field in dataclasses.fields(AttackResult)}
    kind = type(attack)
    said |= {"name": attack.label, "implementation": f"{kind.__module__}.{kind.__name__}", "params": attack.settings()}
    return AttackResult(**{**said, "source": attack.source, **changes})


@pytest.mark.parametrize(
    "attack",
    [PGD(eps="8/255", steps=3, step_size="1/255"), FGSM(eps=0.1, target=3), Square(eps=0.1, queries=7), Mine(eps=0.2)],
)
def test_an_attack_is_made_again_from_its_settings(attack):
    assert restore.restore_attack(result(attack)) == attack


def test_settings_that_its_class_does_not_take_make_a_stand_in_with_what_is_stated():
    pgd = PGD(eps=0.1, steps=3)
    found = restore.restore_attack(result(pgd, params={**pgd.settings(), "momentum": 2}))
    assert type(found) is not PGD
    assert (found.label, found.kind, found.steps_per_start) == (pgd.label, "white-box", 3)
    assert found.settings() == {**pgd.settings(), "momentum": 2}


def test_an_attack_of_another_package_is_unknown_and_keeps_its_names():
    pgd = PGD(eps=0.1)
    found = restore.restore_attack(result(pgd, implementation="elsewhere.Best", name="best", source="a paper"))
    assert (found.label, found.kind, found.source, found.eps) == ("best", "unknown", "a paper", 0.1)
    assert (type(found).__module__, type(found).__name__) == ("elsewhere", "Best")
    assert "elsewhere.Best" not in restore.known_attacks()


def test_versions_are_the_same_if_every_one_asked_for_is(monkeypatch):
    monkeypatch.setattr(restore, "environment", lambda: {"torch": "2", "numpy": "1"})
    assert restore.same_versions({"torch": "2", "numpy": "0"}, "torch")
    assert not restore.same_versions({"torch": "2", "numpy": "0"}, "torch", "numpy")
    assert not restore.same_versions({}, "torch")


def test_a_requirement_that_an_older_report_judged_by_what_remained_is_left_as_it_is():
    cascade = Protocol("mine", (PGD(eps=EPS, steps=2), Noise(eps=EPS, restarts=1)))
    classifier = Classifier(digits_cnn(), num_classes=10)
    evaluation = robustkit.evaluate(classifier, digits(20), cascade, probes=0, examples=0)
    today = build_audit(evaluation, classifier, name="mine")
    judged = GateResult("accuracy[noise] >= 0.9", "not met", 0.5, 0.7, None, "10 of 20")
    verdict = dataclasses.replace(today.verdict, requirement="not met", rule=judged.rule)
    stated = dataclasses.replace(today, gates=(judged,), verdict=verdict)
    older = dataclasses.replace(
        stated,
        attacks=tuple(
            dataclasses.replace(one, alone=None, remaining=None, success_of_attacked=None) for one in stated.attacks
        ),
    )
    assert restore.derive(older, evaluation) == older
    with pytest.raises(ConfigurationError, match="expected a figure that was measured"):
        restore.derive(stated, evaluation)
