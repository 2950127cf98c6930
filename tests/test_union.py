"""Several threat models in one evaluation: each with its number, and the worst case over all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bundles import quick
from nets import digits, digits_cnn

import robustkit
from robustkit.attacks import PGD
from robustkit.base.errors import ConfigurationError
from robustkit.report import load
from robustkit.report.views.markdown import render_markdown

THREATS = [("Linf", 0.1), ("L2", 0.45), ("L1", "1")]


@pytest.fixture(scope="module")
def union():
    return robustkit.evaluate_union(
        digits_cnn(), digits(40), THREATS, ["pgd:steps=4"], batch_size=64, examples=0, evidence=True
    )


def test_every_number_is_its_own_and_the_worst_case_counts_what_any_of_them_broke(union):
    alone = [
        robustkit.evaluate(digits_cnn(), digits(40), PGD(norm=norm, eps=eps, steps=4), examples=0)
        for norm, eps in THREATS
    ]
    assert [one.ledger.to_csv() for one in union.evaluations] == [one.ledger.to_csv() for one in alone]
    right = np.logical_and.reduce([one.ledger.robust for one in alone])
    assert union.robust_accuracy.k == right.sum()
    assert union.robust_accuracy.k <= min(one.robust_accuracy.k for one in alone)
    broken, worst = union.broken, union.worst_case
    assert [*broken] == ["Linf 0.1", "L2 0.45", "L1 1"]
    assert worst.broken_by == tuple(int(mask.sum()) for mask in broken.values())
    others = np.stack([*broken.values()]).sum(0)
    assert worst.broken_only_by == tuple(int((mask & (others == 1)).sum()) for mask in broken.values())
    assert str(union).startswith("clean ")


def test_the_report_names_them_all_first_and_verification_counts_again(union, tmp_path, monkeypatch):
    quick(monkeypatch)
    folder = union.save(tmp_path / "mine", digits_cnn(), name="net")
    report, count = load(folder / "report.json"), len(THREATS)
    said = " ".join(render_markdown(report).split())
    assert f"of the 40 images are still classified correctly under all {count} threat models together" in said
    assert [audit.subject.name for audit in report.audits] == ["net (Linf 0.1)", "net (L2 0.45)", "net (L1 1)"]
    model = robustkit.Classifier(digits_cnn())
    result = robustkit.verify(folder, [model] * count, [digits(40)] * count)
    assert result.holds, result.false
    assert any("worst case over all threat models" in str(check) for check in result.checks)


def test_a_worst_case_that_the_ledgers_do_not_give_is_false(union, tmp_path, monkeypatch):
    quick(monkeypatch)
    folder = union.save(tmp_path / "mine", digits_cnn())
    path = folder / "report.json"
    tree = json.loads(path.read_text())
    tree["across"]["broken_only_by"][0] += 1
    path.write_text(json.dumps(tree))
    assert "report.json: across.broken_only_by" in "\n".join(map(str, robustkit.verify(folder).false))


@pytest.mark.parametrize(
    ("threats", "options", "said"),
    [
        ([("Linf", 0.1)], {}, "two or more pairs"),
        ("Linf", {}, "two or more pairs"),
        ([("Linf", 0.1), "L2"], {}, "expected pairs of norm and eps, got 'L2'"),
        ([("Linf", 0.1), ("L3", 1)], {}, "expected a norm among"),
        ([("Linf", 0.1), ("Linf", "0.1")], {}, "distinct threat models"),
        ([("Linf", 0.1), ("L2", 1)], {"until": 0.1}, "expected options among batch_size"),
    ],
)
def test_what_is_no_union_ends_in_one_line(threats, options, said):
    with pytest.raises(ConfigurationError, match=said):
        robustkit.evaluate_union(digits_cnn(), digits(4), threats, "fgsm", **options)
