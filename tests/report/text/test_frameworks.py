"""The mapping to frameworks."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

from report_examples import ABOUT, audit, report
from report_pages import EXAMPLES, PAGES

from robustkit.report.text import frameworks
from robustkit.report.text.sections import OF_THE_REPORT

EVERYTHING = EXAMPLES["every part"]


PAGE = PAGES["every part"]


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
