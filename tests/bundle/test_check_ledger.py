"""A ledger that contradicts itself is named, column by column."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from robustkit.bundle.check_ledger import check_ledger
from robustkit.evaluation.ledger import Ledger

ROW = {"clean_prediction": 0, "clean_confidence": 0.9, "clean_nll": 0.1, "clean_brier": 0.2}
WORST = {"worst_nll": 3.0, "worst_brier": 1.5}


def evaluation(cascade: bool = False, target: int | None = None) -> SimpleNamespace:
    """Returns three samples: wrong from the start, broken by the second attack, robust."""
    table = Ledger(["a", "b"])
    everybody = table.extend(3)
    table.write(everybody, id=[4, 5, 6], label=[1, 0, 0], **ROW)
    table.write(slice(0, 1), worst_attack=-1, worst_prediction=0, worst_confidence=0.9, worst_nll=0.1, worst_brier=0.2)
    attack = {"distance": 0.1, "steps": 3, "queries": 4}
    for name, predictions, margins in (("a", [0, 0], [-2.0, -1.0]), ("b", [2, 0], [1.0, -3.0])):
        where = slice(1, 3)
        table.write(where, f"{name}/", prediction=predictions, margin=margins, confidence=[0.7, 0.8], **attack)
    table.write(slice(1, 3), worst_attack=[1, 0], worst_prediction=[2, 0], worst_confidence=[0.7, 0.8], **WORST)
    return SimpleNamespace(
        ledger=table,
        num_classes=3,
        protocol=SimpleNamespace(cascade=cascade),
        threat=SimpleNamespace(target=target),
    )


def found(one: SimpleNamespace) -> list[str]:
    return [str(mismatch) for mismatch in check_ledger(one, "l.csv")]


@pytest.mark.parametrize("cascade", [False, True])
def test_a_consistent_ledger_has_no_contradiction(cascade):
    assert found(evaluation(cascade)) == []


@pytest.mark.parametrize(
    ("column", "row", "value", "said"),
    [
        ("id", 1, 4, "id of sample 4: expected a number of its own, got 4"),
        ("id", 0, -1, "id of sample -1: expected a number of its own"),
        ("label", 2, 3, "label of sample 6: expected a class below 3, got 3"),
        ("clean_prediction", 2, -1, "clean_prediction of sample 6: expected a class below 3, got -1"),
        ("worst_prediction", 2, 3, "worst_prediction of sample 6: expected a class below 3, got 3"),
        ("a/prediction", 0, 1, "a/prediction of sample 4: expected no entry, as it was not due, got 1"),
        ("a/prediction", 2, -1, "a/prediction of sample 6: expected a class, as it was due, got -1"),
        ("a/prediction", 2, 3, "a/prediction of sample 6: expected a class below 3, got 3"),
        ("a/prediction", 2, 1, "a/prediction of sample 6: expected 0, as its margin says, got 1"),
        ("b/margin", 2, 1.0, "b/prediction of sample 6: expected not 0, as its margin says, got 0"),
        ("b/steps", 0, 1, "b/steps of sample 4: expected no entry, got 1"),
        ("a/margin", 0, 1.0, "a/margin of sample 4: expected no entry, got 1"),
        ("worst_attack", 2, 1, "worst_attack of sample 6: expected 0, got 1"),
        ("worst_attack", 0, 0, "worst_attack of sample 4: expected -1, got 0"),
        ("worst_confidence", 1, 0.8, "worst_confidence of sample 5: expected 0.7, got 0.8"),
        ("worst_nll", 0, 0.2, "worst_nll of sample 4: expected 0.1, got 0.2"),
    ],
)
def test_a_changed_cell_is_named_with_what_it_had_to_be(column, row, value, said):
    one = evaluation()
    one.ledger[column][row] = value
    assert any(said in line for line in found(one)), found(one)


def test_in_a_cascade_a_broken_sample_is_not_due_any_more():
    one = evaluation(cascade=True)
    one.ledger["a/prediction"][1], one.ledger["a/margin"][1] = 1, 0.5
    said = "b/prediction of sample 5: expected no entry, as it was not due, got 2"
    assert any(said in line for line in found(one))
    one.protocol.cascade = False
    assert not any(said in line for line in found(one))


def test_under_a_targeted_attack_only_the_target_breaks_a_cascade():
    one = evaluation(cascade=True, target=2)
    one.ledger["a/prediction"][1], one.ledger["a/margin"][1] = 1, 0.5
    assert not any("as it was not due" in line for line in found(one))


def test_samples_are_named_by_their_names():
    one = evaluation()
    one.ledger.names = ["x", "y", "z"]
    one.ledger["label"][2] = 3
    assert "l.csv: label of sample z" in " ".join(found(one))
