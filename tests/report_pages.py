"""The example reports with their pages, and a page as a reader sees it."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest
from report_examples import ABOUT, HOSTILE, audit, complete, report, with_rows

from robustkit.report import render_html

THOUSAND = tuple(f"class number {index}" for index in range(1000))
EXAMPLES = {
    "two models": report(),
    "two classes": report(
        with_rows(audit("a table", 0.5, names=("no", "yes"), shape=(30,), gallery=0, quality="reliable"))
    ),
    "a thousand classes": report(audit("many", 0.3, names=THOUSAND, n=3000, quality="unreliable", norm="L2")),
    "hostile names": report(
        audit(HOSTILE[0], 0.3, names=HOSTILE, quality="invalid"),
        audit(HOSTILE[4], 0.5, names=HOSTILE, target=2),
        title=HOSTILE[1],
    ),
    "every part": report(complete(audit(robust=0.62, defended=True)), about=ABOUT),
}
each_example = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
PAGES = {name: render_html(example) for name, example in EXAMPLES.items()}
each_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())


def replaced(audit, **changes):
    return report(dataclasses.replace(audit, **changes))


class Page(HTMLParser):
    """Reads a page and complains about everything that is open, twice there, or loaded from somewhere."""

    VOID = frozenset({"meta", "img", "br", "hr", "link", "input", "path", "rect", "use", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.struck: list[str] = []
        self.headings: list[int] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag} {attrs}"
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)
        if "s" in self.open:
            self.struck.append(data)

    def everything(self) -> str:
        return " ".join(" ".join(self.text).split())
