"""The report as Markdown."""

from __future__ import annotations

import dataclasses
import re

from report_examples import HOSTILE, audit
from report_pages import EXAMPLES, each_example, replaced

from robustkit.report import (
    from_json,
    render_markdown,
    to_json,
)


class TestMarkdown:
    @each_example
    def test_it_is_drawn_from_the_json_alone(self, example):
        assert render_markdown(from_json(to_json(example))) == render_markdown(example)

    def test_one_audit_fits_on_sixty_lines_however_much_was_found(self):
        one = audit(quality="unreliable", names=HOSTILE)
        crowded = replaced(one, attacks=one.attacks * 9, diagnostics=one.diagnostics * 20)
        text = render_markdown(crowded)
        assert len(text.splitlines()) <= 60
        assert "33 more attacks" in text
        assert "- fail: Q12" in text

    def test_it_says_what_to_do_next_with_the_commands_of_the_page(self):
        text = render_markdown(EXAMPLES["every part"])
        assert "Evaluate about 2,400 samples to decide clean" in text
        assert "`robustkit audit digits.toml --seed 7 --limit 2400 --out robustkit-2400-samples`" in text

    def test_names_cannot_break_the_table_become_markup_or_call_somebody(self):
        one = audit(HOSTILE[0], names=HOSTILE)
        named = tuple(
            dataclasses.replace(attack, name=name) for attack, name in zip(one.attacks, HOSTILE[3:], strict=True)
        )
        text = render_markdown(replaced(one, attacks=named))
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len(rows) == 9
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
        assert not re.search(r"<|(?<!\\)`tick|(?<!\\)\*star|@\d|\x00", text)

    def test_the_headline_is_the_json(self):
        worst = EXAMPLES["two classes"].audits[0].worst_case.accuracy
        row = next(line for line in render_markdown(EXAMPLES["two classes"]).splitlines() if "(worst case)" in line)
        assert f"{worst.k} of {worst.n}" in row
        assert f"{100 * worst.k / worst.n:.1f}" in row
