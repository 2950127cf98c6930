"""The pages in docs/extend, followed to the letter in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {page.stem: page for page in sorted((ROOT / "docs" / "extend").glob("*.md"))}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_to_the_letter(page, tmp_path):
    script = Path(__file__).with_name("follow_page.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "site")])}
    command = [sys.executable, str(script), str(PAGES[page])]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "followed"


def test_there_is_a_page_for_everything_one_can_add():
    assert PAGES.keys() >= {"attack", "objective", "probe", "report_section", "model_and_data"}
    texts = "".join(page.read_text(encoding="utf-8") for page in PAGES.values())
    for group in (
        "attacks",
        "objectives",
        "augmentations",
        "corruptions",
        "protocols",
        "models",
        "datasets",
        "sections",
    ):
        assert f"`robustkit.{group}`" in texts
