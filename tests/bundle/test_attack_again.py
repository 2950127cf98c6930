"""Attacking robust samples again: a search that was switched off shows, and an honest one is never blamed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from bundles import ATTACKS, EPS, Forger, X, Y, write
from nets import digits_cnn

import robustkit
from robustkit.attacks import APGD, PGD, Noise, Square, Transfer
from robustkit.attacks.base import CLOSE
from robustkit.attacks.protocols import Protocol, get_protocol
from robustkit.base.errors import InvalidEvaluation
from robustkit.bundle.attack_again import Again, pick
from robustkit.model.classifier import Classifier


def again(folder, count=20, seed=5):
    return robustkit.verify(folder, Classifier(digits_cnn()), (X, Y), attack_again=count, seed=seed)


SHORT = (
    APGD(eps=EPS, steps=5, restarts=2),
    APGD(eps=EPS, steps=5, restarts=2, close=CLOSE),
    Square(eps=EPS, queries=30, trial=10),
)
SILENT = PGD(eps=EPS, steps=5, random_start=False)


def grey_levels():
    """The digits network for inputs of 0..255."""
    return Classifier(digits_cnn(), bounds=(0.0, 255.0), mean=[0.0], std=[255.0])


def switched_off(folder, *attacks):
    """Writes a bundle of PGD that never made a step: nothing in it is false but that its samples were attacked."""
    step = PGD.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PGD, "step", lambda self, problem, rows: step(self, problem, rows).having(x_adv=rows.x))
        write(folder, attacks)
    return folder


@pytest.fixture(scope="module")
def disabled(tmp_path_factory):
    return switched_off(tmp_path_factory.mktemp("again") / "b", SILENT)


def test_an_honest_bundle_holds_and_the_remark_bounds_what_it_may_hide(folder):
    result = again(folder)
    assert result.holds, result.false
    assert not result.unchecked
    standing = int(robustkit.evaluate(digits_cnn(), (X, Y), list(ATTACKS)).robust_accuracy.k)
    (said,) = result.remarks
    assert said.startswith(f"the same attacks broke 0 of 20 samples picked from the {standing} robust ones (seed 5)")
    assert (
        "that a sample called robust cannot be broken: at most 20 of each audit were attacked again" in result.trusted
    )


def test_a_search_that_was_switched_off_is_false(disabled):
    assert robustkit.verify(disabled, Classifier(digits_cnn()), (X, Y)).holds
    result = again(disabled, seed=None)
    (false,) = result.false
    assert str(false).startswith("the robust samples: expected to stand")


def test_so_is_one_of_several(tmp_path):
    folder = switched_off(tmp_path / "b", Noise(eps=EPS), SILENT)
    assert not again(folder).holds


def test_what_ends_the_attacks_is_said(folder, monkeypatch):
    def fails(*arguments, **settings):
        raise InvalidEvaluation("evaluate: expected memory, got none; use less")

    monkeypatch.setattr("robustkit.bundle.attack_again.evaluate", fails)
    result = again(folder)
    assert [check.note for check in result.unchecked] == ["evaluate: expected memory, got none; use less"]


@pytest.mark.parametrize("accelerate", [True, False])
def test_they_are_attacked_as_the_audit_was_made(tmp_path, monkeypatch, accelerate):
    protocol, made = Protocol("mine", SHORT, cascade=accelerate), {}
    evaluation = write(tmp_path / "b", protocol, accelerate=accelerate, seed=4, model=grey_levels(), data=(255 * X, Y))

    def evaluate(classifier, data, attacks, **settings):
        made.update(settings, attacks=attacks, bounds=data.bounds)
        return robustkit.evaluate(classifier, data, attacks, **settings)

    monkeypatch.setattr("robustkit.bundle.attack_again.evaluate", evaluate)
    result = robustkit.verify(tmp_path / "b", grey_levels(), (255 * X, Y), attack_again=3, seed=0)
    assert result.holds, result.false
    assert evaluation.accelerated == accelerate == made["accelerate"]
    assert (made["seed"], made["bounds"]) == (4, (0.0, 255.0))
    assert made["attacks"] == evaluation.protocol


def test_samples_are_picked_at_random_from_the_robust_ones_by_a_seed_that_nobody_knows():
    evaluation = robustkit.evaluate(digits_cnn(), (X, Y), list(ATTACKS))
    standing = set(evaluation.ledger["id"][evaluation.ledger.robust].tolist())
    picks = [pick(evaluation, 5, seed) for seed in (1, 1, 2, None, None)]
    assert all(len(ids) == 5 and ids <= standing for ids, _ in picks)
    assert picks[0] == picks[1] != picks[2]
    assert picks[3][1] != picks[4][1]
    assert set().union(*(pick(evaluation, 5, seed)[0] for seed in range(200))) == standing


def test_all_robust_samples_are_attacked_where_more_are_asked_for(disabled):
    evaluation = robustkit.evaluate(digits_cnn(), (X, Y), [SILENT])
    (said,) = again(disabled, count=1000).remarks
    broken = int((evaluation.ledger.right & ~evaluation.ledger.robust).sum())
    right = int(evaluation.ledger.right.sum())
    assert said.startswith(f"the same attacks broke {broken} of {right} samples picked from the {right} robust ones")
    assert f"at most {broken} of them" in said


def test_a_cascade_finds_the_same_on_a_few_samples_as_on_all(tmp_path):
    write(tmp_path / "b", Protocol("mine", SHORT))
    result = again(tmp_path / "b")
    assert result.holds, result.false
    assert "broke 0 of 20" in result.remarks[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fast", "autoattack"])
def test_so_does_every_protocol(name, tmp_path):
    write(tmp_path / "b", get_protocol(name, norm="Linf", eps=EPS, classes=10))
    assert "broke 0 of 20" in again(tmp_path / "b").remarks[0]


def test_without_the_model_nothing_is_attacked_and_that_is_said(folder):
    result = robustkit.verify(folder, None, (X, Y), attack_again=3)
    assert "3 robust samples attacked again" in [check.what for check in result.unchecked]


def test_attacks_that_need_more_than_their_settings_stay_on_trust(tmp_path):
    write(tmp_path / "b", (PGD(eps=EPS, steps=3), Transfer(surrogate=Classifier(digits_cnn()), eps=EPS)))
    result = again(tmp_path / "b", count=3)
    assert result.holds, result.false
    assert any(claim.startswith("what transfer") for claim in result.trusted)


def test_where_nothing_stands_there_is_nothing_to_attack(tmp_path):
    write(tmp_path / "b", (PGD(eps=1, steps=3),))
    result = again(tmp_path / "b")
    assert not result.unchecked
    assert "no sample is called robust, so that none is attacked again" in [check.what for check in result.checks]


def test_the_bound_is_the_largest_number_that_chance_may_hide():
    """By counting: of 20 robust samples 5 are drawn."""
    found = Again(tried=5, broken=(), standing=20, audited=40, seed=0)
    rng = np.random.default_rng(0)
    draws = np.array([rng.permutation(20)[:5] for _ in range(20000)])
    for hidden, likely in ((found.hidden, True), (found.hidden + 1, False)):
        assert ((draws < hidden).sum(axis=1) == 0).mean() == pytest.approx(0.05, abs=0.03)
        assert (((draws < hidden).sum(axis=1) == 0).mean() > 0.05) == likely
    assert "at least 50.0 %" not in str(found)
    assert f"at least {100 * (20 - found.hidden) / 40:.1f} %" in str(found)


def test_a_few_that_break_may_be_the_machine_and_leave_it_open():
    assert not Again(64, tuple(range(3)), 100, 200, 0).beyond_noise
    assert Again(64, tuple(range(4)), 100, 200, 0).beyond_noise


def test_one_broken_sample_of_many_is_neither_held_nor_called_false(folder, monkeypatch):
    ledger = robustkit.evaluate(digits_cnn(), (X, Y), list(ATTACKS)).ledger
    close = int(ledger["id"][ledger.robust][0])

    def evaluate(classifier, data, *rest, **more):
        found = robustkit.evaluate(classifier, (data.source[0], data.source[1], data.source[2]), *rest, **more)
        row = int((found.ledger["id"] == close).nonzero()[0][0])
        found.ledger["pgd/prediction"][row] = (found.ledger["label"][row] + 1) % 10
        return found

    monkeypatch.setattr("robustkit.bundle.attack_again.evaluate", evaluate)
    result = again(folder, count=60)
    assert result.holds
    assert [check.note for check in result.unchecked] == [
        "1 broken, which another machine may do: attack more of them again"
    ]


def test_a_forged_seed_does_not_hide_a_search_that_was_switched_off(disabled, tmp_path):
    forged = shutil.copytree(disabled, tmp_path / "b")
    forger = Forger(forged)
    forger.audit(lambda audit: audit["calibration"]["clean"].update(seed=77))
    forger.finish()
    assert not again(forged).holds


def test_the_inputs_are_those_of_the_data_in_their_order(folder):
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    result = robustkit.verify(
        folder, Classifier(digits_cnn()), [(X[i], int(Y[i]), int(i)) for i in order], attack_again=10, seed=3
    )
    assert result.holds, result.false
    assert "broke 0 of 10" in result.remarks[0]
