"""No text of the report claims more than was measured."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import jinja2
import pytest
from report_pages import EXAMPLES, PAGES, Page

import robustkit.report
from robustkit.report import (
    render_markdown,
)

FOLDER = Path(robustkit.report.__file__).parent


# 2C of what a report must hold: claims that no measurement of this kind can carry.
CLAIMS = re.compile(
    r"\b(in)?secur\w*|\bcertif\w*|\bcomplian\w*|\bcomply\b|\bconform(s|ing|ant)?\b|\bsafe(ly|ty)?\b|\bguarant\w*|\bproven\b|"
    r"\bunbreakable\b|\bbulletproof\b|\b(robustness|security|safety) score\b|\bout of 100\b|\d ?/ ?100\b|"
    r"\brobust(ly)?\b(?![ _-]accurac)",
    re.IGNORECASE,
)


@functools.cache
def fixed_texts() -> dict[str, str]:
    """Every text of ours that can reach a reader, whichever branch it stands in."""
    texts = {}
    for path in (*FOLDER.rglob("*.py"), FOLDER.parent / "evaluation" / "notebook_card.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        strings = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings
        ]
        texts[path.name] = "\n".join(string for string in strings if isinstance(string, str))
    for path in (FOLDER / "templates").glob("*.j2"):
        tokens = jinja2.Environment().lex(path.read_text(encoding="utf-8"))
        said = " ".join(value for _, kind, value in tokens if kind in ("data", "string"))
        texts[path.name] = re.sub(r"<[^>]*>|'unsafe-inline'", " ", said)
    return texts


class TestClaims:
    @pytest.mark.parametrize(
        "claim",
        [
            "The model is secure.",
            "certified",
            "It conforms to the act",
            "conforming",
            "EU compliant",
            "a robust model",
            "Robust: 3",
            "robustness score 81/100",
        ],
    )
    def test_the_net_catches_claims(self, claim):
        assert CLAIMS.search(claim)

    @pytest.mark.parametrize("fine", ["Robust accuracy", "robust_accuracy >= 0.6", "Robustness audit", "8/255"])
    def test_the_net_lets_measurements_pass(self, fine):
        assert not CLAIMS.search(fine)

    @pytest.mark.parametrize("name", sorted(fixed_texts()))
    def test_no_text_of_ours_claims_more_than_was_measured(self, name):
        assert [match[0] for match in CLAIMS.finditer(fixed_texts()[name])] == []

    def test_no_view_claims_more_than_was_measured(self):
        for name in EXAMPLES.keys() - {"hostile names"}:
            said = Page(PAGES[name]).everything() + render_markdown(EXAMPLES[name]).replace("\\", "")
            assert [match[0] for match in CLAIMS.finditer(said)] == []
