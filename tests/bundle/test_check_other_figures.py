"""Figures without rows in the ledger: they agree with themselves and with it, or are false."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bundles import EPS, X, Y
from nets import digits_cnn

import robustkit
from robustkit.attacks import FMN, PGD
from robustkit.bundle.check_other_figures import check_stated
from robustkit.evaluation.curve import minimal_distances, security_curve
from robustkit.evaluation.slices import Groups
from robustkit.maths.intervals import proportion
from robustkit.model.classifier import Classifier
from robustkit.report.build import build_audit

COLOURS = {str(id): "red" if id % 3 else "green" for id in range(50)}


@pytest.fixture(scope="module")
def honest():
    """An audit with everything in it, and its ledger."""
    classifier = Classifier(digits_cnn())
    evaluation = robustkit.evaluate(classifier, (X, Y), [PGD(eps=EPS, steps=5)])
    audit = build_audit(
        evaluation,
        classifier,
        name="mine",
        curve=security_curve(classifier, (X, Y), [PGD(eps=EPS, steps=1)], ["0.02", "0.05", "0.1", "0.2"]),
        distances=minimal_distances(classifier, (X, Y), [FMN(norm="Linf", eps="inf", steps=3)]),
        groups=Groups("g.csv", {"colour": COLOURS}),
    )
    return audit, evaluation.ledger


def found(audit, ledger):
    return "\n".join(map(str, check_stated(audit, ledger, "report.json: audits[0]")))


def test_what_an_honest_audit_states_holds(honest):
    assert found(*honest) == ""


def test_the_curve_knows_what_the_evaluation_found(honest):
    """One step of PGD alone leaves more samples standing than five at the same radius."""
    audit, ledger = honest
    at_eps = audit.curve.points[2]
    assert at_eps.eps == "0.1"
    assert at_eps.accuracy.k <= audit.worst_case.accuracy.k
    weak = security_curve(digits_cnn(), (X, Y), [PGD(eps=EPS, steps=1)], ["0.1"])
    assert weak.accuracy[0].k > audit.worst_case.accuracy.k
    assert weak.informed(ledger).accuracy[0].k <= audit.worst_case.accuracy.k


def test_a_curve_over_other_samples_learns_nothing_from_the_ledger(honest):
    _, ledger = honest
    curve = security_curve(digits_cnn(), (X, Y), [PGD(eps=EPS, steps=1)], ["0.1"], first=20)
    assert curve.informed(ledger).accuracy == curve.accuracy


def test_distances_are_at_most_those_of_the_ledger(honest):
    _, ledger = honest
    far = minimal_distances(digits_cnn(), (X, Y), [FMN(norm="Linf", eps="inf", steps=1)])
    assert (far.informed(ledger).values <= ledger.closest).all()
    assert (far.informed(ledger).values <= far.values).all()
    assert np.isinf(ledger.closest[ledger.robust]).all()
    assert (ledger.closest[~ledger.right] == 0).all()


def with_point(audit, index, **changes):
    points = list(audit.curve.points)
    points[index] = dataclasses.replace(points[index], **changes)
    return dataclasses.replace(audit, curve=dataclasses.replace(audit.curve, points=tuple(points)))


def with_row(audit, index, **changes):
    rows = list(audit.slices)
    rows[index] = dataclasses.replace(rows[index], **changes)
    return dataclasses.replace(audit, slices=tuple(rows))


def with_deciles(audit, *deciles):
    return dataclasses.replace(audit, nearest=dataclasses.replace(audit.nearest, deciles=deciles))


PERFECT = proportion(60, 60)
FORGED = {
    "100 % at every radius": (
        lambda a: dataclasses.replace(
            a, curve=dataclasses.replace(
                a.curve, points=tuple(dataclasses.replace(p, accuracy=PERFECT) for p in a.curve.points)
            )
        ), "curve.points[0].accuracy.k: expected at most",
    ),
    "more than the ledger leaves": (lambda a: with_point(a, 2, accuracy=PERFECT), "as the ledger has it, got 60"),
    "a curve that rises": (lambda a: with_point(a, 3, accuracy=PERFECT), "a larger eps and no higher accuracy"),
    "another radius than its text": (lambda a: with_point(a, 1, eps_value=0.06), "curve.points[1].eps_value"),
    "an interval": (
        lambda a: with_point(a, 1, accuracy=dataclasses.replace(a.curve.points[1].accuracy, wilson=(0.9, 1.0))),
        "curve.points[1].accuracy.wilson[0]",
    ),
    "a share": (
        lambda a: with_point(a, 1, accuracy=dataclasses.replace(a.curve.points[1].accuracy, value=0.99)),
        "curve.points[1].accuracy.value",
    ),
    "more hits than samples": (
        lambda a: with_point(a, 0, accuracy=dataclasses.replace(PERFECT, k=61)), "accuracy.k: expected a number from 0"
    ),
    "deciles that fall": (lambda a: with_deciles(a, *[0.2, 0.1, *[0.3] * 7]), "nine distances that do not fall"),
    "too few deciles": (lambda a: with_deciles(a, 0.1), "nine distances that do not fall"),
    "nearest far away": (lambda a: with_deciles(a, *[5.0] * 9), "nearest.deciles[0]: expected at most"),
    "slices that do not add up": (
        lambda a: with_row(a, 0, robust=proportion(a.slices[0].robust.n, a.slices[0].robust.n)), "slices: robust of",
    ),
    "a p value": (lambda a: with_row(a, 0, p_value=0.9), "slices[0]: p values[0]"),
    "a corrected p value": (lambda a: with_row(a, 1, p_holm=1e-9), "slices[1]: p values[1]"),
}  # fmt: skip


@pytest.mark.parametrize(("forge", "said"), FORGED.values(), ids=FORGED)
def test_what_contradicts_the_ledger_or_itself_is_false(honest, forge, said):
    audit, ledger = honest
    assert said in found(forge(audit), ledger)
