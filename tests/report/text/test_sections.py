"""The sections of the page."""

from __future__ import annotations

import pytest

from robustkit.report.text.sections import TITLES as SECTIONS
from robustkit.report.text.sections import reference


class TestAnnex:
    def test_sections_have_one_number_each_in_order(self):
        numbers = [int(title.split()[0]) for title in SECTIONS.values() if title[0].isdigit()]
        assert numbers == list(range(1, 13))

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            ("checks", "section 8"),
            ("classes", "Accuracy by class, section 6"),
            ("gates", "Requirements checked in this audit, section 9"),
        ],
    )
    def test_a_part_of_a_section_is_named_beside_its_number(self, key, said):
        assert reference(key) == said
