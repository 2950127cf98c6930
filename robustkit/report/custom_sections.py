"""Sections that others add to the page: a title and rows of text that follow from the report alone.

They stand on pages drawn on request only. The page in a bundle has none, so that a stranger without the plug-in draws
the same bytes when verifying it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from robustkit.base.registry import Registry
from robustkit.base.settings import function, instance
from robustkit.report.document.report import Report


@dataclass(frozen=True)
class Section:
    """A section of one's own.

    Attributes:
        title: Its heading.
        rows: Returns pairs of a label and a text for a report; both are shown as text, never as HTML.
    """

    title: str
    rows: Callable[[Report], Iterable[tuple[str, object]]]

    def __post_init__(self) -> None:
        instance("Section", "title", self.title, str)
        function("Section", "rows", self.rows)

    def texts(self, report: Report) -> list[tuple[str, str]]:
        """Returns its rows as plain text."""
        return [(f"{label!s}", f"{text!s}") for label, text in self.rows(report)]


SECTIONS: Registry[Section] = Registry(
    "section",
    "robustkit.sections",
    {},
    expected="a robustkit.report.Section",
    fits=lambda value: isinstance(value, Section),
)
