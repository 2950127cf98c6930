"""The sections of the page."""

from __future__ import annotations

from robustkit.report.text.sections import TITLES as SECTIONS


class TestAnnex:
    def test_sections_have_one_number_each_in_order(self):
        numbers = [int(title.split()[0]) for title in SECTIONS.values() if title[0].isdigit()]
        assert numbers == list(range(1, 13))
