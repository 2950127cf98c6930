"""The record that comes with an audit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from nets import digits_cnn
from report_examples import ABOUT, report
from report_pages import EXAMPLES, PAGES

import robustkit
from robustkit.base.errors import ConfigurationError
from robustkit.cli import run
from robustkit.cli.audit import command as audit_command
from robustkit.report import About, SignOff, from_json, read_about, render_html, to_json
from robustkit.report.build import build_audit, build_report
from robustkit.report.text.sections import PARTS_OF_RESULTS

EVERYTHING = EXAMPLES["every part"]


PAGE = PAGES["every part"]


class TestAbout:
    def write(self, folder: Path, text: str) -> Path:
        path = folder / "about.toml"
        path.write_text(text, encoding="utf-8")
        return path

    def test_every_key_of_the_record_is_read(self, tmp_path):
        fields = {name: value for name, value in dataclasses.asdict(ABOUT).items() if name != "signoff"}
        text = "".join(f"{name.replace('_', '-')} = {json.dumps(value)}\n" for name, value in fields.items())
        text += '[signoff]\nname = "R. Officer"\nrole = "Head of risk"\ndate = 2026-03-05\n'
        assert read_about(self.write(tmp_path, text)) == ABOUT

    def test_an_empty_record_states_nothing(self, tmp_path):
        assert read_about(self.write(tmp_path, 'purpose = " "\n')) == About()

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ('purpos = "x"', "no key 'purpos'; did you mean 'purpose'?"),
            ('[signoff]\nnmae = "x"', "no key 'signoff.nmae'; did you mean 'name'?"),
            ("users = 3", "expected users as text, got 3; put it in quotes"),
            ('party = "4th"', "expected party 1st, 2nd or 3rd, got '4th'"),
            ('signoff = "me"', "expected a table [signoff], got 'me'"),
            ("purpose = ", "expected a TOML file"),
        ],
    )
    def test_what_cannot_be_meant_is_refused_in_one_line(self, tmp_path, text, complaint):
        with pytest.raises(ConfigurationError, match=r"^about '.*about\.toml': ") as caught:
            read_about(self.write(tmp_path, text))
        assert complaint in str(caught.value)

    def test_it_is_on_the_page_and_in_the_json_but_no_finding(self):
        without = report(*EVERYTHING.audits)
        assert from_json(to_json(EVERYTHING)) == EVERYTHING
        assert EVERYTHING.result_sha256 == without.result_sha256
        assert all(text in PAGE for text in (ABOUT.purpose, ABOUT.harm, "3rd party", "R. Officer", "Head of risk"))
        assert "not stated" not in render_html(without)
        assert "Nobody stated what the model is for" in render_html(without)

    def test_the_command_line_reads_it_before_any_work_and_prints_it(self, in_folder, capsys):
        self.write(in_folder, 'purpose = "sorting parcels"\n')
        line = ["audit", "mlp", "--data", "digits", "--limit", "20", "--attack", "fgsm", "--quiet"]
        line += ["--expected-clean-accuracy", "0.1", "--about"]  # untrained
        assert run([*line, "about.toml"]) in (0, 3)
        assert "sorting parcels" in Path("robustkit-report/report.html").read_text(encoding="utf-8")
        assert run([*line, "missing.toml"]) == 2
        assert "about 'missing.toml': expected a TOML file" in capsys.readouterr().err

    def test_the_help_names_it(self):
        assert "--about" in CliRunner().invoke(audit_command, ["--help"]).output


def test_the_record_can_be_given_in_python(evaluation):
    one = build_audit(evaluation, robustkit.Classifier(digits_cnn(), num_classes=10), name="cnn")
    about = About(purpose="sorting", signoff=SignOff(name="A"))
    shown = build_report([one], title="t", about=about)
    assert from_json(to_json(shown)).about == about
    assert set(PARTS_OF_RESULTS) > {"curve"}
