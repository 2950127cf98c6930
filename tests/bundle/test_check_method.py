"""The name of a protocol stands for its attacks, and whatever is not known here is left open."""

from __future__ import annotations

import dataclasses

import pytest
from bundles import EPS, Forger, X, Y, write
from nets import digits_cnn

import robustkit
from robustkit.attacks import APGD, FAB, FGSM, PGD
from robustkit.attacks.protocols import PROTOCOLS, Protocol
from robustkit.bundle.restore import restore_attack
from robustkit.model.classifier import Classifier


@pytest.fixture(scope="module", autouse=True)
def short():
    """A published protocol that takes no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROTOCOLS, "short", lambda norm, eps, classes: (_attacks(norm, eps, classes), ()))
        patch.setitem(PROTOCOLS, "few", lambda norm, eps, classes: (_attacks(norm, eps, classes), ("9 targets",)))
        yield


def _attacks(norm, eps, classes):
    return APGD(norm=norm, eps=eps, steps=3), FAB(norm=norm, eps=eps, steps=2, targets=min(2, classes - 1))


def forged(folder, change):
    forger = Forger(folder)
    forger.audit(change)
    forger.finish()
    return robustkit.verify(folder)


def said(result):
    return [str(one) for one in result.false]


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol("short", _attacks("Linf", EPS, 10)),
        Protocol("short", _attacks("Linf", EPS, 10)).plus(FGSM(eps=EPS)),
        Protocol("short", (PGD(eps=EPS, steps=2),), ("it was made shorter",)),
        Protocol("few", _attacks("Linf", EPS, 10), ("9 targets",)),
        Protocol("few", _attacks("Linf", EPS, 10), ("9 targets",)).plus(FGSM(eps=EPS)),
        Protocol("mine", (PGD(eps=EPS, steps=2),)),
    ],
    ids=["to the letter", "one more", "shorter, and says so", "adapted", "adapted and one more", "one's own"],
)
def test_the_attacks_of_the_protocol_hold(protocol, tmp_path):
    write(tmp_path / "b", protocol)
    result = robustkit.verify(tmp_path / "b")
    assert result.holds, result.false


@pytest.mark.parametrize(
    ("protocol", "said_of_it"),
    [
        (Protocol("short", (APGD(eps=EPS, steps=3),)), "the 2 attacks of short, got 1"),
        (Protocol("short", (APGD(eps=EPS, steps=2), FAB(eps=EPS, steps=2, targets=2))), "got another apgd-ce"),
        (Protocol("short", _attacks("Linf", EPS, 10), cascade=False), "True, as short has it, got False"),
        (Protocol("few", _attacks("Linf", EPS, 10)), "few (adapted) for 10 classes, got few"),
        (Protocol("short", (PGD(eps=EPS, steps=2),), ("pgd was added",)), "the 2 attacks of short"),
        (Protocol("Short", (PGD(eps=EPS, steps=2),)), "the name of a protocol, or one that nobody takes for it"),
        (Protocol("auto-attack", (PGD(eps=EPS, steps=2),)), "the name of a protocol, or one that nobody takes for it"),
    ],
    ids=["fewer", "weaker", "no cascade", "adapted in silence", "said to be more", "nearly the name", "with a dash"],
)
def test_other_attacks_under_its_name_are_false(protocol, said_of_it, tmp_path):
    write(tmp_path / "b", protocol)
    result = robustkit.verify(tmp_path / "b", Classifier(digits_cnn()), (X, Y))
    assert any(said_of_it in one for one in said(result)), said(result)


def test_a_fingerprint_is_worked_out_for_the_versions_that_are_stated(folder):
    def another(audit):
        audit["method"]["fingerprint"] = "0" * 12

    forger = Forger(folder)
    forger.audit(another)
    forger.report = dataclasses.replace(forger.report, environment={**forger.report.environment, "torch": "1.0"})
    forger.finish()
    assert "report.json: audits[0].method.fingerprint" in "\n".join(said(robustkit.verify(folder)))


def test_the_fingerprint_of_another_version_of_robustkit_is_left_open(folder):
    forger = Forger(folder)
    forger.audit(lambda audit: audit["method"].update(fingerprint="0" * 12))
    forger.report = dataclasses.replace(forger.report, environment={**forger.report.environment, "robustkit": "0.0.9"})
    forger.finish()
    result = robustkit.verify(folder)
    assert result.holds, result.false
    assert "robustkit 0.0.9 made the audit, and may have had other settings" in [c.note for c in result.unchecked]


@pytest.mark.parametrize("size", [None, 0.02, "2/255"])
def test_an_attack_is_made_again_from_its_settings_however_they_were_given(size, tmp_path):
    attack = PGD(eps=EPS, steps=3, step_size=size)
    write(tmp_path / "b", (attack,))
    (stated,) = Forger(tmp_path / "b").report.audits[0].attacks
    made = restore_attack(stated)
    assert type(made) is PGD
    assert made.settings() == attack.settings()


def test_an_attack_under_an_unknown_name_leaves_it_open(folder):
    result = forged(folder, lambda audit: audit["attacks"][0].update(implementation="elsewhere.Strong"))
    assert any(check.note.startswith("attack noise is not known here") for check in result.unchecked)
