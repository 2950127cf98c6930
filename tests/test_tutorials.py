"""The tutorials, followed to the letter in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from follow_page import follow

PAGES = {page.stem: page for page in sorted((Path(__file__).parent.parent / "docs" / "tutorials").glob("*.md"))}


@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_works_to_the_letter(page, in_folder):
    follow(PAGES[page].read_text(encoding="utf-8"))
