"""The report as JSON and as a file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_examples import audit, report
from report_pages import EXAMPLES, each_example, replaced

import robustkit.report
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.maths.intervals import proportion
from robustkit.report import (
    from_json,
    load,
    render_html,
    result_sha256,
    save,
    schema,
    to_json,
)

FOLDER = Path(robustkit.report.__file__).parent


def changed(change) -> str:
    """The JSON of the two-model report after `change` has had its way with it."""
    tree = json.loads(to_json(EXAMPLES["two models"]))
    change(tree)
    return json.dumps(tree)


class TestJson:
    @each_example
    def test_reading_back_what_was_written_gives_the_same_report(self, example):
        assert from_json(to_json(example)) == example

    def test_text_is_stable_and_laid_out_to_be_read(self):
        text = to_json(EXAMPLES["two models"])
        lines = text.splitlines()
        assert text == to_json(from_json(text))
        assert text.endswith("}\n")
        assert lines[1] == '  "schema": "robustkit.report/1.6",'
        k = EXAMPLES["two models"].audits[0].clean.k
        assert any(line.strip().startswith('"clean": {') and f'"k": {k}' in text for line in lines)
        assert any(line.strip().startswith('"input_shape": [1, 8, 8]') for line in lines)

    def test_fields_from_a_later_minor_version_are_passed_over(self):
        def later(tree):
            tree["schema"] = "robustkit.report/1.7"
            tree["curve"] = [1, 2]
            tree["audits"][0]["clean"]["bayes"] = [0.1, 0.2]

        assert from_json(changed(later)).audits == EXAMPLES["two models"].audits

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (lambda tree: tree["audits"][0]["clean"].pop("k"), "field required at audits[0].clean.k, got nothing"),
            (
                lambda tree: tree["audits"][1]["clean"].update(k="seven"),
                "valid integer at audits[1].clean.k, got 'seven'",
            ),
            (lambda tree: tree["audits"][0]["clean"].update(wilson=[0.1]), "at audits[0].clean.wilson[1], got nothing"),
            (
                lambda tree: tree["audits"][0]["verdict"].update(quality="great"),
                "at audits[0].verdict.quality, got 'great'",
            ),
            (lambda tree: tree["environment"].update(torch=["2.9"]), "at environment.torch, got a list"),
            (lambda tree: tree.update(audits={}), "at audits, got an object"),
            (
                lambda tree: tree.update(schema="robustkit.report/2.0"),
                "schema robustkit.report/1.x, got 'robustkit.report/2.0'",
            ),
            (lambda tree: tree.update(schema=None), "expected a report of schema robustkit.report/1.x, got None"),
        ],
    )
    def test_a_bad_field_is_named_in_one_line(self, change, complaint):
        with pytest.raises(ConfigurationError) as caught:
            from_json(changed(change), "a.json")
        assert complaint in str(caught.value)
        assert str(caught.value).startswith("a.json: ")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("text", ["", "{", "[1", '{"a": NaN}', "[" * 100_000, "\ufeff{}"])
    def test_text_that_is_no_json_is_refused(self, text):
        with pytest.raises(ConfigurationError, match=r"^report: expected JSON, got .*; write it again$"):
            from_json(text)

    @pytest.mark.parametrize("text", ["[]", "null", "3", "{}"])
    def test_json_that_is_no_report_is_refused(self, text):
        with pytest.raises(ConfigurationError, match="expected a report of schema"):
            from_json(text)

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def test_whatever_one_value_is_replaced_by_the_answer_is_a_report_or_one_line(self, data):
        values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just([])

        def change(tree):
            at = tree
            while True:
                key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else range(len(at))))
                if not isinstance(at[key], (dict, list)) or not at[key] or data.draw(st.integers(0, 4)) == 0:
                    at[key] = data.draw(values)
                    return
                at = at[key]

        try:
            read = from_json(changed(change))
        except ConfigurationError as error:
            complaint = str(error)
        else:
            complaint = "none"
            assert from_json(to_json(read)) == read
        assert len(complaint.splitlines()) == 1

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_a_number_that_is_not_finite_is_refused_by_its_path(self, number):
        one = audit()
        broken = dataclasses.replace(one.attacks[1], loss_path=(0.1, number))
        with pytest.raises(InvalidEvaluation, match=r"got (nan|inf) at audits\[0\]\.attacks\[0\]\.loss_path\[1\]"):
            to_json(replaced(one, attacks=(broken,)))

    def test_the_schema_file_is_the_schema_of_the_code(self):
        committed = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
        assert committed == schema(), "write json.dumps(schema(), indent=2, ensure_ascii=False) to schema.json"

    @each_example
    def test_what_is_written_obeys_the_schema(self, example):
        jsonschema.Draft202012Validator(schema()).validate(json.loads(to_json(example)))

    def test_the_schema_refuses_a_report_without_its_verdict(self):
        tree = json.loads(changed(lambda tree: tree["audits"][0].pop("verdict")))
        with pytest.raises(jsonschema.ValidationError, match="'verdict' is a required property"):
            jsonschema.Draft202012Validator(schema()).validate(tree)

    def test_the_result_hash_is_about_what_was_found_and_nothing_else(self):
        one = audit()
        slower = tuple(dataclasses.replace(attack, seconds=9.9) for attack in one.attacks)
        elsewhere = dataclasses.replace(
            one,
            attacks=slower,
            subject=dataclasses.replace(one.subject, device="cuda:0"),
            method=dataclasses.replace(one.method, probe_seconds=7.5),
        )
        assert "The probes among them took 7.5\N{NO-BREAK SPACE}s." in render_html(report(elsewhere))
        other = dataclasses.replace(one, clean=proportion(one.clean.k - 1, one.clean.n))
        assert result_sha256([elsewhere]) == result_sha256([one])
        assert result_sha256([other]) != result_sha256([one])
        assert result_sha256([one, one]) != result_sha256([one])

    def test_the_result_hash_does_not_know_the_order_of_settings(self):
        one = audit()
        turned = dataclasses.replace(one.attacks[0], params=dict(reversed(one.attacks[0].params.items())))
        assert result_sha256([dataclasses.replace(one, attacks=(turned, *one.attacks[1:]))]) == result_sha256([one])

    def test_the_result_hash_of_nothing_is_the_hash_of_an_empty_list(self):
        assert result_sha256([]) == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


class TestFiles:
    def test_saving_makes_folders_and_loading_gives_the_report_back(self, tmp_path):
        path = save(EXAMPLES["hostile names"], tmp_path / "new" / "folder" / "report.json")
        assert load(path) == EXAMPLES["hostile names"]
        assert [file.name for file in path.parent.iterdir()] == ["report.json"]

    def test_loading_what_is_not_there_is_one_line(self, tmp_path):
        (tmp_path / "latin.json").write_bytes(b'{"title": "na\xefve"}')
        for name, reason in (("no.json", "No such file"), ("", "Is a directory"), ("latin.json", "not UTF-8")):
            with pytest.raises(ConfigurationError, match=f"^report: expected a readable JSON file, .*{reason}"):
                load(tmp_path / name)
