"""The report in other forms, the planner and the assertion for test suites."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest
import torch
import yaml
from nets import digits, digits_cnn
from report_examples import HOSTILE, audit, report

from robustkit.attacks import FGSM, PGD
from robustkit.attacks.protocols import custom
from robustkit.base.csv_table import read_csv
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.cost import probe
from robustkit.data.dataset import Dataset
from robustkit.evaluator import evaluate
from robustkit.maths.intervals import proportion
from robustkit.model.classifier import Classifier
from robustkit.report import SliceRow
from robustkit.report.exports.exports import model_card, robustbench, tables
from robustkit.testing import assert_robust

FIELDS = {
    "link", "name", "authors", "additional_data", "number_forward_passes", "dataset", "venue", "architecture", "eps",
    "clean_acc", "reported", "autoattack_acc", "footnote", "unreliable",
}  # fmt: skip
PART = audit("standard CNN", 0.62, gallery=0)
MODEL = dataclasses.replace(PART, data=dataclasses.replace(PART.data, selection="all samples"))


def test_a_leaderboard_entry_has_its_field_names_and_knows_what_it_does_not_know():
    info = json.loads(robustbench(MODEL))
    assert set(info) == FIELDS
    assert (info["clean_acc"], info["eps"]) == (f"{100 * MODEL.clean.value:.2f}", "8/255")
    assert info["autoattack_acc"] == f"{100 * MODEL.worst_case.accuracy.value:.2f}"
    assert [name for name, value in info.items() if value is None] == [
        *("link", "authors", "additional_data", "venue", "reported")
    ]


@pytest.mark.parametrize("change", [{"protocol": "fast"}, {"changes": ("9 targets",)}, {"early": True}])
def test_only_autoattack_as_published_is_entered_as_such(change):
    other = dataclasses.replace(MODEL, method=dataclasses.replace(MODEL.method, **change))
    info = json.loads(robustbench(other))
    assert info["autoattack_acc"] is None
    assert f"Robust accuracy {100 * MODEL.worst_case.accuracy.value:.2f} against" in info["footnote"]


def test_a_part_of_the_samples_is_not_entered_as_autoattack():
    assert json.loads(robustbench(PART))["autoattack_acc"] is None


def test_a_model_card_is_yaml_with_the_clean_figure_beside_the_attacked():
    head = model_card(report(MODEL, audit(HOSTILE[1], 0.3, names=HOSTILE, gallery=0))).split("---\n")[1]
    index = yaml.safe_load(head)["model-index"]
    assert [model["name"] for model in index] == ["standard CNN", HOSTILE[1]]
    (result,) = index[0]["results"]
    assert result["task"] == {"type": "image-classification"}
    assert result["dataset"] == {"type": "digits", "name": "digits", "split": "test"}
    clean, robust, *_ = result["metrics"]
    assert (clean["type"], clean["value"]) == ("accuracy", MODEL.clean.value)
    assert (robust["type"], robust["value"]) == ("robust_accuracy", MODEL.worst_case.accuracy.value)
    assert robust["name"] == "Robust accuracy (Linf 8/255, autoattack)"


def test_a_model_card_keeps_a_doubtful_figure_out_of_the_metrics():
    text = model_card(report(audit("m", 0.9, quality="unreliable", gallery=0)))
    metrics = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"][0]["metrics"]
    assert [metric["type"] for metric in metrics] == ["accuracy", "ece"]
    assert "not to be relied on (unreliable: likely too high)" in text


def test_the_data_of_every_figure_come_as_csv():
    slices = (SliceRow("light", "night", proportion(9, 10), proportion(5, 10), 0.5, 1.0),)
    found = tables(report(dataclasses.replace(MODEL, slices=slices), audit(HOSTILE[6], 0.3, names=HOSTILE, gallery=0)))
    lines = {name: read_csv(text) for name, text in found.items()}
    rows = {name: [dict(zip(head, row, strict=True)) for row in rest] for name, (head, *rest) in lines.items()}
    assert "gates.csv" not in rows
    first = [row for row in rows["accuracy.csv"] if row["model"] == "standard CNN"]
    assert [row["under"] for row in first] == [
        *("no attack", "FGSM", "after PGD", "after APGD-CE", "after APGD-DLR", "after Square", "worst case")
    ]
    assert float(first[-1]["value"]) == MODEL.worst_case.accuracy.value
    assert float(first[-1]["exact_low"]) == MODEL.worst_case.accuracy.clopper_pearson[0]
    assert {row["class"] for row in rows["classes.csv"]} >= set(HOSTILE)
    assert [(row["figure"], row["p"]) for row in rows["slices.csv"]] == [
        ("clean_accuracy", ""),
        ("robust_accuracy", "0.5"),
    ]
    assert len(rows["reliability.csv"]) == 2 * 2 * 15
    assert rows["nearest.csv"][8]["distance"] == ""
    for text in found.values():
        shown = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in shown}) == 1
        assert not [cell for row in shown for cell in row if cell.startswith(("=", "+", "@", "\t", "\r"))]


def test_a_forecast_is_in_proportion_to_what_was_counted():
    x, y = digits(32)
    attacks = custom([PGD(eps=0.1, steps=3)])
    classifier = Classifier(digits_cnn(), num_classes=10)
    short = probe(classifier, Dataset(name="d", source=(x, y)), attacks, seconds=1e-6)
    assert short.n == 16
    forwards, backwards, time = short.forecast(1600)
    assert (forwards, backwards) == (100 * short.forwards, 100 * short.backwards)
    assert time == pytest.approx(100 * short.seconds)
    whole = probe(classifier, Dataset(name="d", source=(x, y)), attacks, seconds=600)
    run_of_all = evaluate(classifier, (x, y), attacks)
    assert (whole.n, whole.robust.k) == (32, run_of_all.robust_accuracy.k)
    assert whole.backwards == run_of_all.runs[0].backwards


def test_assert_robust_passes_what_is_met_and_returns_the_audit():
    found = assert_robust(digits_cnn(), digits(80), "clean_accuracy>=0.9", attacks=[FGSM(eps="1/255")])
    assert found.verdict.requirement == "met"
    assert found.gates[0].bound >= 0.9


def test_assert_robust_fails_with_counts_bound_and_needed_samples():
    with pytest.raises(AssertionError) as caught:
        assert_robust(digits_cnn(), digits(80), "robust_accuracy>=0.9", "clean_accuracy>=0.95", attacks=[PGD(eps=0.2)])
    head, missed, undecided = str(caught.value).splitlines()
    assert head.endswith("80 samples, Linf 0.2")
    assert "robust_accuracy >= 0.9 is not met: " in missed
    assert " of 80 = " in missed
    assert "at most" in missed
    assert "clean_accuracy >= 0.95 is undecided: " in undecided
    assert "samples would decide it" in undecided


def test_assert_robust_refuses_an_evaluation_it_cannot_rely_on():
    class Noisy(torch.nn.Module):
        def forward(self, x):
            return digits_cnn()(x + torch.rand_like(x))

    with pytest.raises(InvalidEvaluation, match="got unreliable: Q05"):
        assert_robust(Noisy(), digits(40), "robust_accuracy>=0", attacks=[FGSM(eps=0.1)])


def test_assert_robust_refuses_wrong_rules_before_any_attack():
    with pytest.raises(ConfigurationError, match="expected a requirement, got none"):
        assert_robust(digits_cnn(), digits(8))
    with pytest.raises(ConfigurationError, match="did you mean 'robust_accuracy'"):
        assert_robust(digits_cnn(), digits(8), "robust_acuracy>=0.4")
    with pytest.raises(ConfigurationError, match="can be read twice"):
        assert_robust(digits_cnn(), iter([digits(8)]), "robust_accuracy>=0.4")
