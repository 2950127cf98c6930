"""The pages of the site: every public name has its entry, every page its place in the navigation."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import robustkit

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MODULES = [name for name in robustkit.__all__ if isinstance(getattr(robustkit, name), ModuleType)]


def entries(page: str) -> list[str]:
    """Returns the names that a page of the API reference describes, sorted."""
    return sorted(re.findall(r"^::: (\S+)$", (DOCS / "api" / f"{page}.md").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name_of_a_module(module):
    assert entries(module) == sorted(f"robustkit.{module}.{name}" for name in getattr(robustkit, module).__all__)


def test_the_reference_has_every_name_of_the_package_itself():
    names = set(robustkit.__all__) - set(MODULES) - {"__version__"}
    assert entries("robustkit") == sorted(f"robustkit.{name}" for name in names)
    page = (DOCS / "api" / "robustkit.md").read_text(encoding="utf-8")
    assert "`robustkit.__version__`" in page
    assert all(f"[`robustkit.{module}`]({module}.md)" in page for module in MODULES)


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert set(re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)) == pages
