"""The parts of the report that follow from its data: record, risks, gates, mapping, tables, tallies and saliency."""

from __future__ import annotations

import ast
import base64
import csv
import dataclasses
import io
import json
import re
import shlex
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from nets import digits, digits_cnn
from report_examples import ABOUT, HOSTILE, audit, complete, report
from torch import nn

import robustkit
from robustkit.attacks import FGSM, PGD, Noise
from robustkit.base.errors import ConfigurationError
from robustkit.checks.diagnostic import TITLES
from robustkit.cli import run
from robustkit.cli.audit import command as audit_command
from robustkit.evaluation.ledger import Ledger
from robustkit.maths.intervals import proportion
from robustkit.report import About, Audit, SignOff, from_json, read_about, render_html, save, to_json
from robustkit.report.build import build_audit, build_report
from robustkit.report.document.ledger_summaries import confusion, margins, risk_coverage
from robustkit.report.text import failed_checks, frameworks, recommendations
from robustkit.report.text.risks import confident_share, risks
from robustkit.report.text.sections import OF_THE_REPORT, PARTS_OF_RESULTS
from robustkit.report.text.sections import TITLES as SECTIONS
from robustkit.report.views.tables import link, tables

SPACE = "\N{NO-BREAK SPACE}"
EVERYTHING = report(complete(audit(defended=True, robust=0.62)), about=ABOUT)
PAGE = render_html(EVERYTHING)  # drawn once, for it takes half a second


@pytest.fixture(scope="module")
def evaluation():
    classifier = robustkit.Classifier(digits_cnn())
    return robustkit.evaluate(classifier, digits(120), [Noise(eps=0.1), FGSM(eps=0.1), PGD(eps=0.1, steps=10)])


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
        assert render_html(without).count("not stated") == 9

    def test_the_command_line_reads_it_before_any_work_and_prints_it(self, in_folder, capsys):
        self.write(in_folder, 'purpose = "sorting parcels"\n')
        line = ["audit", "mlp", "--data", "digits", "--limit", "20", "--attack", "fgsm", "--quiet", "--about"]
        assert run([*line, "about.toml"]) in (0, 3)
        assert "sorting parcels" in Path("robustkit-report/report.html").read_text(encoding="utf-8")
        assert run([*line, "missing.toml"]) == 2
        assert "about 'missing.toml': expected a TOML file" in capsys.readouterr().err

    def test_the_help_names_it(self):
        assert "--about" in CliRunner().invoke(audit_command, ["--help"]).output


def weakened(one: Audit, k: int) -> Audit:
    """The audit in which class 3, "three", keeps `k` of 50 samples and every other class all; without curves."""
    rows = [dataclasses.replace(row, robust=proportion(50, 50)) for row in one.per_class]
    rows[3] = dataclasses.replace(rows[3], name="three", robust=proportion(k, 50))
    return dataclasses.replace(one, per_class=tuple(rows), curve=None, nearest=None)


class TestRisks:
    def test_at_most_five_are_named_and_each_points_to_a_section_that_is_there(self):
        found = risks(EVERYTHING.audits[0])
        assert len(found) == 5
        for risk in found:
            assert f'href="#audit-1-{risk.evidence}">Evidence: section ' in PAGE
            assert f'id="audit-1-{risk.evidence}"' in PAGE
        for one in (audit(), audit(quality="invalid")):
            assert 1 <= len(risks(one)) <= 5

    def test_in_doubt_the_doubt_comes_first_and_the_number_is_not_repeated(self):
        one = weakened(audit(quality="unreliable"), 0)
        assert any("all classes together" in risk.text for risk in risks(weakened(audit(), 0)))
        found = risks(one)
        assert "unreliable: likely too high. Attacks with unbounded eps" in found[0].text
        robust = f"{100 * (one.worst_case.accuracy.value or 0):.1f}{SPACE}%"
        assert robust not in " ".join(risk.text for risk in found)

    def test_a_flawless_audit_shows_none(self):
        one = audit(n=3000)
        right = proportion(3000, 3000)
        attacked = dataclasses.replace(one.calibration.attacked, accuracy=right, confident_errors=proportion(0, 3000))
        flawless = dataclasses.replace(
            one,
            verdict=dataclasses.replace(one.verdict, requirement="met"),
            worst_case=dataclasses.replace(one.worst_case, accuracy=right, attack_success=proportion(0, 3000)),
            calibration=dataclasses.replace(one.calibration, attacked=attacked),
            per_class=tuple(dataclasses.replace(row, robust=proportion(300, 300)) for row in one.per_class),
            curve=None,
            nearest=None,
        )
        assert risks(flawless) == []
        assert "found none of the risks it looks for" in render_html(report(flawless))

    def test_the_weakest_class_is_a_risk_only_if_its_interval_lies_below_the_whole(self):
        def weak(k: int) -> bool:
            return any("three" in risk.text for risk in risks(weakened(audit(defended=True, robust=0.62), k)))

        assert weak(5)
        assert not weak(29)

    def test_confident_mistakes_are_a_share_of_the_mistakes(self):
        one = audit()
        side = one.calibration.attacked
        share = confident_share(one)
        assert (share.k, share.n) == (side.confident_errors.k, side.n - side.accuracy.k)

    def test_every_check_says_in_plain_words_what_its_failure_means(self):
        assert failed_checks.MEANING.keys() == TITLES.keys()
        assert all(text.endswith(".") and "Q" not in text for text in failed_checks.MEANING.values())
        page = render_html(report(audit(quality="invalid")))
        assert failed_checks.MEANING["Q12"] in page


class TestMonitoring:
    def test_the_suggested_gate_is_one_that_this_model_meets(self):
        one = audit(defended=True, robust=0.62)
        limit = float(re.fullmatch(r"robust_accuracy >= (0\.\d\d)", recommendations.gate(one))[1])
        low = one.worst_case.accuracy.clopper_pearson[0]
        assert low - 0.01 < limit <= low

    def test_no_gate_where_nothing_holds_or_all_is_doubtful(self):
        one = audit()
        none_left = dataclasses.replace(one.worst_case, accuracy=proportion(0, 500))
        for bad in (audit(quality="unreliable"), dataclasses.replace(one, worst_case=none_left)):
            assert recommendations.gate(bad) is None
            assert recommendations.gate_command(report(bad), bad) is None
            assert "No gate is suggested" in recommendations.gate_reason(bad)

    def test_the_suggested_gate_is_a_command_line_that_runs(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        good, weak = audit('it\'s "mine" & $HOME', defended=True, robust=0.62), audit("weak")
        for found in (report(good), report(good, weak)):
            save(found, "report.json")
            program, *arguments = shlex.split(recommendations.gate_command(found, good))
            assert (program, run(arguments)) == ("robustkit", 0)
            assert recommendations.gate_command(found, good) in unescape(render_html(found))

    def test_the_triggers_name_weights_data_budget_and_versions(self):
        said = " ".join(recommendations.triggers(report(), audit()))
        assert all(part in said for part in ("0f0f0f0f0f0f", "500 samples of digits", "Linf 8/255", "torch 2.9.1"))

    def test_the_actions_follow_from_what_was_found(self):
        said = " ".join(recommendations.actions(complete(audit(quality="unreliable"))))
        assert "Failed: Q12 unbounded eps check" in said
        assert "until this holds: robust_accuracy >= 0.60" in said
        assert "Evaluate about 2,400 samples to decide clean_accuracy >= 0.96" in said


class TestAnnex:
    def rows(self, shown):
        return {(name, item.item): item.section for name, items in frameworks.mapping(shown).items() for item in items}

    def test_every_item_names_a_section_of_the_page_or_is_not_covered(self):
        ids = set(re.findall(' id="([^"]*)"', PAGE))
        rows = self.rows(EVERYTHING)
        for section in rows.values():
            assert section is None or (section if section in OF_THE_REPORT else f"audit-1-{section}") in ids
        assert PAGE.count(">not covered<") == list(rows.values()).count(None) > 0

    def test_what_was_not_done_is_not_covered(self):
        one = audit()
        rows = self.rows(report(one, audit()))
        assert rows["Carlini et al. 2019", "Success rate vs eps"] == "curve"
        assert rows["Carlini et al. 2019", "Transfer attack"] is None
        assert rows["EU AI Act, Annex IV", "2(g), signature"] is None
        assert self.rows(report(one, about=ABOUT))["EU AI Act, Annex IV", "2(g), signature"] == "signoff"
        rows = self.rows(report(one, dataclasses.replace(one, curve=None)))
        assert rows["Carlini et al. 2019", "Success rate vs eps"] is None

    def test_it_promises_nothing_and_holds_no_dates_of_law(self):
        text = Path(frameworks.__file__).read_text(encoding="utf-8")
        strings = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
        said = " ".join(value for value in strings if isinstance(value, str)).replace("Carlini et al. 2019", "")
        assert "prepared with regard to" in frameworks.NOTICE
        assert re.findall(r"\b20\d\d\b|\bconform\w*", said) == []

    def test_sections_have_one_number_each_in_order(self):
        numbers = [int(title.split()[0]) for title in SECTIONS.values() if title[0].isdigit()]
        assert numbers == list(range(1, 14))


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


class TestTables:
    def test_every_figure_has_its_table_in_the_page_and_every_table_its_link(self):
        pattern = r'download="audit-1-([^"]*)\.csv" href="data:text/csv;charset=utf-8;base64,([^"]*)"'
        links = dict(re.findall(pattern, PAGE))
        found = tables(EVERYTHING.audits[0])
        assert links.keys() == found.keys()
        assert {name: base64.b64decode(data).decode() for name, data in links.items()} == found
        figures = set(re.findall(r'<svg[^>]*labelledby="audit-1-([a-z]+)-', PAGE))
        assert figures == found.keys()

    def test_the_tables_hold_the_numbers_of_the_json(self):
        one = audit()
        rows = read(tables(one)["accuracy"])
        assert rows[1][:4] == ["no attack", str(one.clean.k), str(one.clean.n), str(one.clean.value)]
        assert rows[-1][0] == "worst case"
        assert len(read(tables(one)["confusion"])) == 1 + 100
        assert sum(int(row[3]) for row in read(tables(one)["confusion"])[1:]) == one.data.n
        assert sum(int(row[2]) for row in read(tables(one)["margins"])[1:]) == one.clean.k

    def test_names_cannot_become_formulas_or_break_rows(self):
        one = audit(names=("=1+1", "@x", "a,b", *HOSTILE))
        names = [row[0] for row in read(tables(one)["classes"])[1:]]
        assert {"'=1+1", "'@x", "a,b"} <= set(names)
        assert len(names) == 3 + len(HOSTILE)
        assert not set("\x00\x1b\u202e") & set("".join(names))

    def test_the_link_carries_the_text(self):
        assert "base64," + base64.b64encode("a\né".encode()).decode() in link("x", "a\né")


class TestTallies:
    def ledger(self) -> Ledger:
        ledger = Ledger(["a", "b"])
        ledger.extend(6)
        ledger.write(
            slice(None),
            label=[0, 0, 0, 1, 1, 2],
            clean_prediction=[0, 0, 1, 1, 1, 2],
            worst_prediction=[1, 0, 1, 2, 1, 2],
            clean_confidence=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
            worst_confidence=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        )
        ledger.write(slice(None), "a/", margin=[0.5, -3.0, np.nan, -1.0, -2.0, -4.0])
        ledger.write(slice(None), "b/", margin=[np.nan, -1.0, np.nan, 0.25, -2.5, -np.inf])
        return ledger

    def test_confusion_counts_answers_and_ranks_what_attacks_added(self):
        found = confusion(self.ledger(), ("x", "y", "z"))
        assert found.clean == ((2, 1, 0), (0, 2, 0), (0, 0, 1))
        assert found.attacked == ((1, 2, 0), (0, 1, 1), (0, 0, 1))
        assert [(p.label, p.answer, p.clean, p.attacked) for p in found.pairs] == [("x", "y", 1, 2), ("y", "z", 0, 1)]

    def test_a_right_answer_is_no_mistake_even_if_an_attack_added_it(self):
        ledger = self.ledger()
        ledger.write(slice(2, 3), worst_prediction=[0])  # a random model may come to its senses
        assert [(p.label, p.answer) for p in confusion(ledger, ("x", "y", "z")).pairs] == [("y", "z")]
        ledger.write(slice(None), clean_prediction=[1] * 6, worst_prediction=[0, 0, 0, 1, 1, 2])
        assert confusion(ledger, ("x", "y", "z")).pairs == ()

    def test_many_classes_keep_their_pairs_but_no_matrix(self):
        found = confusion(self.ledger(), tuple(map(str, range(26))))
        assert found.clean is found.attacked is None
        assert len(found.pairs) == 2

    def test_margins_are_the_worst_lead_of_attacked_samples_and_zero_is_an_edge(self):
        found = margins(self.ledger())  # leads -0.5, 1, -0.25, 2, 4
        assert found.median == 1.0
        assert 0.0 in found.edges
        assert sum(found.counts) == 5
        broken = sum(count for low, count in zip(found.edges, found.counts, strict=False) if low < 0)
        assert broken == 2
        assert margins(Ledger(["a"])) is None

    @pytest.mark.parametrize("lead", [0.0, 3.0, -1.0, 1e-9])
    def test_margins_all_alike_fall_into_one_bin(self, lead):
        ledger = Ledger(["a"])
        ledger.extend(4)
        ledger.write(slice(None), "a/", margin=[-lead] * 4)
        found = margins(ledger)
        assert sorted(found.counts)[-1] == 4 == sum(found.counts)
        at = found.counts.index(4)
        assert (found.edges[at] < 0) == (lead < 0)

    def test_risk_is_the_error_among_the_most_confident(self):
        found = risk_coverage(self.ledger())
        assert found.coverage == pytest.approx([i / 6 for i in range(1, 7)])
        assert found.clean == pytest.approx([0, 0, 1 / 3, 1 / 4, 1 / 5, 1 / 6])
        assert found.attacked == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4, 3 / 5, 1 / 2])

    def test_the_last_point_is_the_error_of_all_and_the_mean_over_all_points_the_aurc(self, evaluation):
        found = risk_coverage(evaluation.ledger)
        assert found.clean[-1] == pytest.approx(1 - evaluation.clean_accuracy.value)
        assert found.attacked[-1] == pytest.approx(1 - evaluation.robust_accuracy.value)


class TestSaliency:
    def test_it_is_the_gradient_of_the_score_of_the_class_answered(self, evaluation):
        example = evaluation.examples[0]
        for at, answer, shown in (
            (example.x, example.clean_prediction, example.saliency),
            (example.x_adv, example.adversarial_prediction, example.saliency_adv),
        ):
            x = at[None].clone().requires_grad_()
            (grad,) = torch.autograd.grad(digits_cnn()(x)[0, answer], x)
            torch.testing.assert_close(shown, grad[0].abs().amax(0, keepdim=True))
        assert not torch.equal(example.saliency, example.saliency_adv)

    def test_it_reaches_the_report_and_is_left_out_of_the_result_hash(self, evaluation):
        one = build_audit(evaluation, robustkit.Classifier(digits_cnn(), num_classes=10), name="cnn")
        assert all(shown.saliency and shown.saliency_adversarial for shown in one.gallery)
        bare = dataclasses.replace(one, gallery=tuple(dataclasses.replace(e, saliency=None) for e in one.gallery))
        assert build_report([bare], title="").result_sha256 == build_report([one], title="").result_sha256
        assert render_html(report(one)).count('alt="saliency of the') == 2 * len(one.gallery)
        assert 'alt="saliency' not in render_html(report(bare))

    def test_a_model_without_gradients_has_none(self):
        class Cut(nn.Module):
            def forward(self, x):
                return digits_cnn()(x.detach())

        x, y = digits(30)
        found = robustkit.evaluate(robustkit.Classifier(Cut()), (x, y), [Noise(eps=0.9)])
        assert found.examples
        assert all(e.saliency is None and e.saliency_adv is None for e in found.examples)

    def test_no_attack_is_charged_for_it(self, evaluation):
        bare = robustkit.evaluate(digits_cnn(), digits(120), evaluation.protocol.attacks, examples=0)
        assert bare.examples == ()
        counts = [[(run.forwards, run.backwards) for run in one.runs] for one in (bare, evaluation)]
        assert counts[0] == counts[1]


class TestNotebook:
    def test_evaluation_and_report_are_shown_as_cards_of_their_own(self, evaluation):
        shown = report(complete(audit(HOSTILE[0], quality="unreliable")), title=HOSTILE[0])
        for html in (evaluation._repr_html_(), shown._repr_html_()):
            open_tags: list[str] = []

            class Reader(HTMLParser):
                def handle_starttag(self, tag, attrs, open_tags=open_tags):
                    assert not {name for name, _ in attrs} & {"src", "href", "class", "id"}
                    assert tag in {"div", "table", "tr", "th", "td", "s"}
                    open_tags.append(tag)

                def handle_endtag(self, tag, open_tags=open_tags):
                    assert open_tags.pop() == tag

            Reader().feed(html)
            assert open_tags == []
            assert len(html) < 20_000
        assert "<s>" in shown._repr_html_()
        assert "unreliable: likely too high" in shown._repr_html_()
        assert "&lt;script&gt;" in shown._repr_html_()

    def test_the_card_of_an_evaluation_holds_its_figures(self, evaluation):
        html = evaluation._repr_html_()
        for share in (evaluation.clean_accuracy, evaluation.robust_accuracy):
            assert f"{100 * share.value:.1f}&nbsp;%" in html
            assert f"{share.k} of {share.n}" in html
        assert "an upper limit" in html

    def test_a_frame_is_the_ledger_with_the_unknown_left_open(self, evaluation):
        pandas = pytest.importorskip("pandas")
        frame = evaluation.to_frame()
        assert isinstance(frame, pandas.DataFrame)
        assert list(frame.columns) == list(evaluation.ledger.columns)
        assert len(frame) == 120
        never = evaluation.ledger["fgsm/prediction"] == -1
        assert frame["fgsm/prediction"].isna().tolist() == never.tolist()
        assert (frame["clean_prediction"] == frame["label"]).sum() == evaluation.clean_accuracy.k
        assert evaluation.to_dict().keys() == set(evaluation.ledger.columns)

    def test_names_of_the_samples_come_first(self):
        pytest.importorskip("pandas")
        ledger = Ledger(["a"])
        ledger.extend(2, ["one.png", "two.png"])
        assert ledger.to_frame()["name"].tolist() == ["one.png", "two.png"]

    def test_without_pandas_the_error_names_the_command(self, evaluation, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pandas", None)
        with pytest.raises(ConfigurationError, match="pip install pandas"):
            evaluation.to_frame()


def test_the_record_can_be_given_in_python(evaluation):
    one = build_audit(evaluation, robustkit.Classifier(digits_cnn(), num_classes=10), name="cnn")
    about = About(purpose="sorting", signoff=SignOff(name="A"))
    shown = build_report([one], title="t", about=about)
    assert from_json(to_json(shown)).about == about
    assert set(PARTS_OF_RESULTS) > {"curve"}
