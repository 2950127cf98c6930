"""Actions, triggers and the suggested gate."""

from __future__ import annotations

import dataclasses
import re
import shlex
from html import unescape

from report_examples import audit, complete, report

from robustkit.cli import run
from robustkit.maths.intervals import proportion
from robustkit.report import render_html, save
from robustkit.report.text import recommendations


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

    def test_more_attacks_are_pressing_only_where_they_could_change_the_answer(self):
        broken, good = audit(robust=0.05), audit(robust=0.9)
        for one, first in ((broken, "Consider adversarial training"), (good, "Before relying on this number")):
            one = dataclasses.replace(one, diagnostics=(), gates=())
            one = dataclasses.replace(one, verdict=dataclasses.replace(one.verdict, coverage=("transfer attacks",)))
            texts = [step.text for step in recommendations.steps(report(one), one)]
            assert texts[0].startswith(first)
            assert any(text.startswith("Before relying") for text in texts)

    def test_the_steps_follow_from_what_was_found(self):
        one = complete(audit(quality="unreliable"))
        said = " ".join(step.text for step in recommendations.steps(report(one), one))
        assert "Failed: Q12 unbounded eps check" in said
        assert "until this holds: robust_accuracy >= 0.60" in said
        assert "Evaluate about 2,400 samples to decide clean_accuracy >= 0.96" in said
