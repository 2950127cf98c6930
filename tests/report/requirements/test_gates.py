"""Requirements: what is met, not met and undecided, and how each format says so."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import HOSTILE, audit, report
from scipy.stats import binomtest

from robustkit.attacks import APGD, FGSM, PGD, Square
from robustkit.attacks.protocols import custom
from robustkit.base.errors import ConfigurationError
from robustkit.maths.calibration import Estimate
from robustkit.maths.intervals import confidence_sequence, one_sided, proportion
from robustkit.report import SliceRow, from_json, render_html, render_markdown, to_json
from robustkit.report.exports.gate_markdown import render_gates
from robustkit.report.exports.junit import render_junit
from robustkit.report.exports.sarif import render_sarif
from robustkit.report.requirements.gates import Requirement, answer, exit_code, judge, judged
from robustkit.report.requirements.measures import measures, names

MODEL = audit("standard CNN", 0.62, names=tuple("abcd"), gallery=0)


def having(k: int, n: int, **worst: object):
    """The example with a robust accuracy of k of n."""
    return dataclasses.replace(
        MODEL, worst_case=dataclasses.replace(MODEL.worst_case, accuracy=proportion(k, n), **worst)
    )


def one(model, rule: str):
    (gate,) = judge(model, [Requirement.parse(rule)])
    return gate


@settings(max_examples=50)
@given(
    st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.floats(0.01, 0.99),
    st.booleans(),
)
def test_met_is_what_the_exact_one_sided_test_says(k_of_n, limit, at_least):
    k, n = k_of_n
    gate = one(having(k, n), f"robust_accuracy{'>=' if at_least else '<='}{limit}")
    against = {True: "greater", False: "less"}
    good = binomtest(k, n, limit, against[at_least]).pvalue
    bad = binomtest(k, n, limit, against[not at_least]).pvalue
    # On the edge of 5 % scipy's p value and our bound may round apart.
    if abs(good - 0.05) > 1e-9 and abs(bad - 0.05) > 1e-9:
        assert gate.status == ("met" if good <= 0.05 else "not met" if bad < 0.05 else "undecided")
    is_good = k / n >= limit if at_least else k / n <= limit
    assert gate.p_value == pytest.approx(good if is_good else bad, abs=1e-12)


@pytest.mark.parametrize(("k", "rule"), [(470, "robust_accuracy>=0.45"), (430, "robust_accuracy>=45%"),
                                         (470, "robust_accuracy<=0.45"), (430, "robust_accuracy <= .45")])  # fmt: skip
def test_the_number_of_samples_an_undecided_gate_names_decides_it(k, rule):
    gate = one(having(k, 1000), rule)
    assert gate.status == "undecided"
    assert 1000 < gate.needed < 2500
    below = gate.needed // 100 * 100  # a hundred samples are whole hits, so that no rounding decides
    assert one(having(k * below // 1000, below), rule).status == "undecided"
    assert one(having(k * (below + 100) // 1000, below + 100), rule).status != "undecided"


def test_on_the_limit_itself_no_number_of_samples_is_promised():
    gate = one(having(450, 1000), "robust_accuracy>=0.45")
    assert (gate.status, gate.needed) == ("undecided", None)
    assert "no sample size would decide it" in gate.message


def test_a_share_right_at_the_limit_passes_at_most_one_time_in_twenty():
    rng = np.random.default_rng(0)
    for n in (50, 200):
        counts = np.bincount(rng.binomial(n, 0.45, 20_000), minlength=n + 1)
        bounds = np.array([one_sided(k, n) for k in range(n + 1)])
        passed, failed = counts @ (bounds[:, 0] >= 0.45), counts @ (bounds[:, 1] < 0.45)
        assert 0.02 < passed / 20_000 <= 0.05
        assert 0.02 < failed / 20_000 <= 0.05


def test_a_run_that_could_stop_early_is_judged_by_its_anytime_interval():
    fixed = having(480, 1000)
    early = dataclasses.replace(fixed, method=dataclasses.replace(fixed.method, early=True))
    assert one(fixed, "robust_accuracy>=0.45").status == "met"
    gate = one(early, "robust_accuracy>=0.45")
    assert gate.status == "undecided"
    assert gate.bound == confidence_sequence(480, 1000)[0]
    assert gate.p_value is None
    assert "corrected for optional stopping" in gate.message


def test_samples_of_one_origin_widen_the_bound_and_never_narrow_it():
    assert one(having(480, 1000, clustered=(0.40, 0.56)), "robust_accuracy>=0.45").status == "undecided"
    assert one(having(480, 1000, clustered=(0.47, 0.49)), "robust_accuracy>=0.47").status == "undecided"


def test_a_bound_that_overlooks_common_origins_says_so():
    model = having(480, 1000, clustered=(0.40, 0.56))
    assert "95 %, corrected for common origins" in one(model, "robust_accuracy>=0.45").message
    assert "not corrected for common origins" in one(model, "robust_accuracy[a]>=0.45").message
    assert "origins" not in one(MODEL, "robust_accuracy[a]>=0.45").message


def test_calibration_is_judged_on_the_end_of_its_bootstrap_interval():
    clean = dataclasses.replace(MODEL.calibration.clean, ece=Estimate(0.05, 0.04, 0.07))
    model = dataclasses.replace(MODEL, calibration=dataclasses.replace(MODEL.calibration, clean=clean))
    found = {rule: one(model, rule) for rule in ("ece<=0.07", "ece<=0.06", "ece<=0.03", "ece>=0.04", "ece<=5%")}
    assert [gate.status for gate in found.values()] == ["met", "undecided", "not met", "met", "undecided"]
    assert [gate.bound for gate in found.values()] == [0.07, 0.07, 0.04, 0.04, 0.07]
    assert [one(model, rule).status for rule in ("ece>=0.07", "ece<=0.04")] == ["undecided", "undecided"]
    assert found["ece<=0.06"].needed == pytest.approx(500 * (0.02 / 0.01) ** 2, abs=1)
    assert found["ece<=5%"].needed is None
    assert all(gate.p_value is None for gate in found.values())


def test_an_undecided_ece_says_where_even_perfect_calibration_would_not_do():
    chance = MODEL.calibration.clean.ece_if_calibrated.mean
    low = dataclasses.replace(MODEL.calibration.clean, ece=Estimate(chance * 0.8, chance * 0.5, chance * 1.5))
    model = dataclasses.replace(MODEL, calibration=dataclasses.replace(MODEL.calibration, clean=low))
    assert "even a perfectly calibrated model shows" in one(model, f"ece<={chance * 0.9}").message


def test_every_figure_has_a_name_known_beforehand():
    slices = (SliceRow("light", "night", proportion(9, 10), proportion(5, 10), 0.5, 1.0),)
    model = dataclasses.replace(MODEL, slices=slices, method=dataclasses.replace(MODEL.method, cascade=False))
    protocol = custom([FGSM(), PGD(), APGD(), APGD(loss="dlr"), Square()])
    radii = [point.eps for point in model.curve.points]
    assert set(measures(model)) == set(names("abcd", protocol, [("light", "night")], radii))
    cascade = dataclasses.replace(MODEL, slices=slices)
    known = names("abcd", dataclasses.replace(protocol, cascade=True), [("light", "night")], radii)
    assert set(measures(cascade)) == set(known)
    assert one(model, "robust_accuracy[light=night]>=0.9").status == "not met"
    assert one(model, "robust_accuracy[eps=1/255]>=0.5").status == "met"
    assert one(model, "accuracy[pgd]>=0.5").value == next(a for a in model.attacks if a.name == "pgd").accuracy.value
    assert one(model, "robust_accuracy_stored>=0.5").message.startswith("not measured")


@pytest.mark.parametrize("figure", ["accuracy", "attack_success_rate"])
def test_in_a_cascade_only_the_first_attack_has_figures_of_its_own(figure):
    first, *later = (attack.name for attack in MODEL.attacks)
    assert one(MODEL, f"{figure}[{first}]>=0.01").value is not None
    for attack in later:
        with pytest.raises(ConfigurationError, match=rf"require 'robust_accuracy_after\[{attack}\]' or 'robust_acc"):
            one(MODEL, f"{figure}[{attack}]>=0.9")
    for attack in MODEL.attacks:
        assert one(MODEL, f"robust_accuracy_after[{attack.name}]>=0.01").value == attack.accuracy.value
    alone = dataclasses.replace(MODEL, method=dataclasses.replace(MODEL.method, cascade=False))
    assert {one(alone, f"{figure}[{attack}]>=0.01").status for attack in later} == {"met"}
    with pytest.raises(ConfigurationError, match="expected the name of a figure"):
        one(alone, f"robust_accuracy_after[{first}]>=0.01")


def test_an_attack_on_near_boundary_samples_has_no_figures_of_its_own():
    few = dataclasses.replace(MODEL.attacks[2], name="apgd-ce-close", params={"close": 0.5})
    method = dataclasses.replace(MODEL.method, cascade=False)
    model = dataclasses.replace(MODEL, method=method, attacks=(*MODEL.attacks, few))
    assert "accuracy[apgd-ce]" in measures(model)
    assert "accuracy[apgd-ce-close]" not in measures(model)


def test_a_class_may_be_called_anything():
    model = audit("m", 0.3, names=HOSTILE, gallery=0)
    for name, row in zip(HOSTILE, model.per_class, strict=True):
        assert one(model, f"robust_accuracy[{name}]>=0.01").value == row.robust.value
    assert one(audit("m", names=("a>=1", "b")), "robust_accuracy[a>=1]<=1").rule == "robust_accuracy[a>=1] <= 1"


@pytest.mark.parametrize(("text", "complaint"), [
    ("robust_acuracy>=0.4", "did you mean 'robust_accuracy'?"), ("robust>=0.4", "did you mean 'robust_accuracy'?"),
    ("robust_accuracy_after[pdg]>=0.4", "did you mean 'robust_accuracy_after[pgd]'?"),
    ("xyz<=1", "known: clean_accuracy, "),
    ("robust_accuracy>=45", "limit from 0 to 1"), ("robust_accuracy", "NAME>=LIMIT"), (">=0.4", "NAME>=LIMIT"),
    ("robust_accuracy>0.4", "NAME>=LIMIT"), ("robust_accuracy==0.4", "NAME>=LIMIT"), ("ece<=nan", "NAME>=LIMIT"),
    ("ece<=", "NAME>=LIMIT"), ("", "NAME>=LIMIT"),
])  # fmt: skip
def test_a_rule_that_cannot_be_meant_is_refused(text, complaint):
    with pytest.raises(ConfigurationError) as caught:
        one(MODEL, text)
    assert complaint in str(caught.value)


def test_holms_p_values_count_classes_and_slices_and_nothing_else():
    rules = [f"robust_accuracy[{name}]>=0.5" for name in "abcd"] + ["robust_accuracy>=0.5"]
    *classes, whole = judge(MODEL, [Requirement.parse(rule) for rule in rules])
    raw = sorted(gate.p_value for gate in classes)
    expected = np.minimum(np.maximum.accumulate([p * (4 - i) for i, p in enumerate(raw)]), 1)
    assert sorted(gate.p_holm for gate in classes) == pytest.approx(expected)
    assert whole.p_holm is None


def test_one_miss_outweighs_what_is_undecided_and_trust_outweighs_both():
    rules = ["robust_accuracy>=0.1", "robust_accuracy>=0.65", "robust_accuracy>=0.99"]
    met, undecided, missed = (judged(MODEL, [Requirement.parse(rule) for rule in rules[: i + 1]]) for i in range(3))
    assert [m.verdict.requirement for m in (met, undecided, missed)] == ["met", "undecided", "not met"]
    assert undecided.verdict.rule == "robust_accuracy >= 0.1 and robust_accuracy >= 0.65"
    assert [exit_code([m]) for m in (met, undecided, missed)] == [0, 4, 1]
    assert exit_code([undecided, missed, met]) == 1
    for quality in ("unreliable", "invalid"):
        doubtful = dataclasses.replace(met, verdict=dataclasses.replace(met.verdict, quality=quality))
        assert exit_code([missed, doubtful]) == 3
    assert answer([]) == "none given"


RULES = ["robust_accuracy>=0.1", "robust_accuracy>=0.65", "robust_accuracy>=0.99", "robust_accuracy[b]>=0.9"]
REPORT = report(judged(MODEL, [Requirement.parse(rule) for rule in RULES]))
SARIF = {
    "type": "object", "required": ["version", "$schema", "runs"],
    "properties": {"version": {"const": "2.1.0"}, "runs": {"type": "array", "minItems": 1, "items": {
        "type": "object", "required": ["tool", "results"], "properties": {
            "tool": {"type": "object", "required": ["driver"], "properties": {"driver": {
                "type": "object", "required": ["name", "version", "rules"], "properties": {"rules": {
                    "type": "array", "uniqueItems": True, "items": {
                        "type": "object", "required": ["id", "shortDescription"],
                        "properties": {"shortDescription": {"$ref": "#/$defs/message"}}}}}}}},
            "results": {"type": "array", "items": {
                "type": "object", "additionalProperties": False,
                "required": ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
                "properties": {
                    "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": 0},
                    "level": {"enum": ["none", "note", "warning", "error"]},
                    "message": {"$ref": "#/$defs/message"},
                    "locations": {"type": "array", "minItems": 1, "items": {
                        "type": "object", "required": ["physicalLocation"], "properties": {"physicalLocation": {
                            "type": "object", "required": ["artifactLocation", "region"], "properties": {
                                "artifactLocation": {"required": ["uri"], "properties": {
                                    "uri": {"type": "string", "pattern": "^[!-~]+$"}}},
                                "region": {"required": ["startLine"], "properties": {
                                    "startLine": {"type": "integer", "minimum": 1}}}}}}}},
                    "partialFingerprints": {"type": "object", "minProperties": 1,
                                            "additionalProperties": {"type": "string"}}}}}}}}},
    "$defs": {"message": {"type": "object", "required": ["text"], "properties": {
        "text": {"type": "string", "minLength": 1}}}},
}  # fmt: skip


def test_sarif_has_the_structure_of_2_1_0_and_names_only_what_needs_attention(in_folder):
    log = json.loads(render_sarif(REPORT, Path("out folder/report.json")))
    jsonschema.Draft202012Validator(SARIF).validate(log)
    (found,) = log["runs"]
    rules = [rule["id"] for rule in found["tool"]["driver"]["rules"]]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in found["results"])
    place = found["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place == "out%20folder/report.json"
    levels = [(result["ruleId"], result["level"]) for result in found["results"]]
    gates = [("robustkit/requirement", level) for level in ("warning", "error", "error")]
    assert levels == [*gates, ("robustkit/Q07", "note")]
    prints = [result["partialFingerprints"]["robustkit/v1"] for result in found["results"]]
    assert len(set(prints)) == len(prints)
    assert found["results"][0]["message"]["text"].endswith(
        "would decide it. Upper bound from 5 attacks (4 with gradients, 1 without) on 500 images; protocol autoattack."
    )


def test_a_sarif_alert_stays_the_same_alert_when_the_figures_move():
    def prints(model):
        log = json.loads(render_sarif(report(judged(model, [Requirement.parse("robust_accuracy>=0.99")])), Path("r")))
        return [result["partialFingerprints"] for result in log["runs"][0]["results"]]

    assert prints(MODEL) == prints(audit("standard CNN", 0.5, names=tuple("abcd"), gallery=0, seed=3))
    other = dataclasses.replace(MODEL, threat=dataclasses.replace(MODEL.threat, eps="4/255"))
    assert prints(other)[0] != prints(MODEL)[0]


def test_junit_has_a_case_for_every_gate_and_every_diagnostic():
    root = ElementTree.fromstring(render_junit(REPORT))
    (suite,) = root
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    basis = suite.find("properties/property[@name='basis']").get("value")
    assert basis.startswith("Upper bound from 5 attacks")
    assert basis.endswith("on 500 images; protocol autoattack.")
    assert cases["robust_accuracy >= 0.1"] == []
    assert cases["robust_accuracy >= 0.65"] == ["skipped"]
    assert cases["robust_accuracy >= 0.99"] == ["failure"]
    assert cases["Q19 Transfer from an undefended twin"] == ["skipped"]
    assert len(cases) == 4 + len(MODEL.diagnostics) == int(suite.get("tests")) == int(root.get("tests"))
    assert (suite.get("failures"), suite.get("skipped"), suite.get("errors")) == ("2", "2", "0")
    assert "samples would decide it" in suite.find("testcase/skipped").get("message")


def test_junit_calls_gates_of_an_untrustworthy_evaluation_errors():
    bad = judged(audit("m", 0.9, quality="unreliable"), [Requirement.parse("robust_accuracy>=0.1")])
    (suite,) = ElementTree.fromstring(render_junit(report(bad)))
    assert suite.get("errors") == "1"
    assert "unreliable" in suite.find("testcase/error").get("message")


def test_hostile_names_break_no_format():
    model = audit(HOSTILE[0], 0.3, names=HOSTILE, gallery=0)
    rules = [Requirement.parse(f"robust_accuracy[{name}]>=0.3") for name in HOSTILE]
    slices = tuple(SliceRow(name, name, proportion(9, 10), proportion(5, 10), 0.5, 1.0) for name in HOSTILE)
    hostile = report(judged(dataclasses.replace(model, slices=slices), rules), title="\ud800 \x00 &<")
    ElementTree.fromstring(render_junit(dataclasses.replace(hostile, title="\x00\ufffe\x1b")))
    jsonschema.Draft202012Validator(SARIF).validate(json.loads(render_sarif(hostile, Path(HOSTILE[3]))))
    for text in (render_gates(hostile, base=hostile), render_markdown(hostile)):
        tables = [line for line in text.splitlines() if line.startswith("|")]
        assert all(line.endswith("|") for line in tables)
        bare = re.sub("`[^`]*`", "", text)
        assert not [piece for piece in ("<script", "<b>", "\x00", "\u202e") if piece in bare]
        for line in tables:  # as many unescaped pipes as its heading
            assert line.replace("\\|", "").count("|") in (4, 5, 6, 8), line


def test_markdown_stays_below_sixty_lines_and_puts_what_failed_first():
    many = audit("m", 0.3, names=tuple(f"class {i}" for i in range(60)), n=600, gallery=0)
    rules = [Requirement.parse(f"robust_accuracy[class {i}]>=0.2") for i in range(60)]
    crowd = report(*(judged(dataclasses.replace(many), rules) for _ in range(6)))
    text = render_gates(crowd, base=crowd)
    assert len(text.splitlines()) <= 60
    assert "2 more models" in text
    rows = [line for line in render_gates(REPORT).splitlines() if "robust" in line and line.startswith("|")]
    assert [line.split("|")[2].split(" ", 2)[2].strip() for line in rows] == ["not met", "not met", "undecided", "met"]
    slices = tuple(SliceRow("s", str(i), proportion(9, 10), proportion(5, 10), 0.5, 1.0) for i in range(40))
    full = report(judged(dataclasses.replace(many, slices=slices), rules))
    assert len(render_markdown(full).splitlines()) <= 60


def test_markdown_compares_with_a_base_and_says_what_that_is_worth():
    base = report(having(200, 500))
    text = render_gates(REPORT, base)
    now = MODEL.worst_case.accuracy.value
    assert f"| robust\\_accuracy | 40.0\N{NO-BREAK SPACE}% | {100 * now:.1f}\N{NO-BREAK SPACE}% |" in text
    assert f"+{100 * (now - 0.4):.1f} points" in text
    assert "Same samples in both" in text
    other = dataclasses.replace(MODEL, data=dataclasses.replace(MODEL.data, sha256="99" * 32))
    assert "other samples" in render_gates(REPORT, report(other))
    other = dataclasses.replace(MODEL, threat=dataclasses.replace(MODEL.threat, eps="4/255"))
    assert "another threat: Linf 4/255" in render_gates(REPORT, report(other))


def test_a_judged_report_survives_its_json_and_is_drawn():
    assert from_json(to_json(REPORT)) == REPORT
    page = render_html(REPORT)
    assert "robust_accuracy &gt;= 0.65" in page
    assert "not met: robust\\_accuracy &gt;= 0.99" in render_markdown(REPORT)
