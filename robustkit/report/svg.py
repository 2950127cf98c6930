"""Matplotlib figures as inline SVG: in the colours of the page, for any name, always the same."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustkit.report.words import shorten

WIDTH = 420
"""Of every figure, in CSS pixels: legible on a phone, two abreast on a laptop."""

# Placeholders that no figure uses for anything else; the page's style sheet holds the colours themselves.
INK, MUTED, TRACK, PAPER, CLEAN, WORST_CASE, ATTACK, GAP = (f"#0a0b{number:02x}" for number in range(8))
_VARIABLES = dict(
    zip(
        (INK, MUTED, TRACK, PAPER, CLEAN, WORST_CASE, ATTACK, GAP),
        ("ink", "muted", "track", "paper", "clean", "worst", "attack", "gap"),
        strict=True,
    )
)


@contextmanager
def plain_style() -> Iterator[None]:
    """A context, or a decorator, in which matplotlib has its own defaults and none of the user's settings."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rc("font", family="DejaVu Sans", size=11)
        mpl.rc("svg", fonttype="none")
        yield


class Sheet:
    """A figure measured in CSS pixels, origin at the top left; `ident` makes its ids unique on the page."""

    def __init__(self, ident: str, width: int, height: int) -> None:
        self.ident, self.width, self.height = ident, width, height
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        self._names: list[str] = []

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Returns axes at this place without frame, ticks or background."""
        box = (
            left / self.width,
            1 - (top + height) / self.height,
            width / self.width,
            height / self.height,
        )
        axes = self.figure.add_axes(box)
        axes.set_axis_off()
        return axes

    def name(self, text: str, width: int) -> str:
        """Returns a stand-in for somebody's own words, cut to `width` letters, which `svg` puts in.

        Matplotlib never sees the words, so neither a $ nor a letter its font lacks can break the figure.
        """
        self._names.append(shorten(text, width))
        return f"@{len(self._names) - 1:04d}@"

    def svg(self, title: str, description: str) -> Markup:
        """Returns the figure as one <svg> element, named by `title`, told in words by `description`."""
        file = io.StringIO()
        # None of the metadata: it would carry a date, and addresses of vocabularies.
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with mpl.rc_context({"svg.hashsalt": self.ident}):  # clip paths and markers get ids of their own
            self.figure.savefig(file, format="svg", transparent=True, metadata=nothing)
        body = file.getvalue().split("<svg", 1)[1].split(">", 1)[1]
        body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
        body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href", "href")
        body = re.sub("#0a0b0[0-7]", lambda match: f"var(--{_VARIABLES[match[0]]})", body)
        body = body.replace("'DejaVu Sans'", "var(--sans)")
        body = re.sub("@([0-9]{4})@", lambda match: str(escape(self._names[int(match[1])])), body)
        label = (
            f'<title id="{self.ident}-title">{escape(title)}</title>'
            f'<desc id="{self.ident}-desc">{escape(description)}</desc>'
        )
        return Markup(
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-labelledby="{self.ident}-title {self.ident}-desc">{label}{body.strip()}'
        )
