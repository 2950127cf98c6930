"""Figures as inline SVG: in the colours of the page, for any name, the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Literal

from markupsafe import Markup, escape

from robustkit.report.text.words import visible

WIDTH = 420
"""Of every figure, in CSS pixels: legible on a phone, two abreast on a laptop."""

# The page's style sheet holds the colours themselves, light and dark.
INK, MUTED, TRACK, PAPER, CLEAN, WORST_CASE, ATTACK, GAP = (
    f"var(--{name})" for name in ("ink", "muted", "track", "paper", "clean", "worst", "attack", "gap")
)

QUARTERS = (0, 0.25, 0.5, 0.75, 1)
Ends = tuple[float, float]
Anchor = Literal["start", "middle", "end"]


class Plot:
    """A box on a figure with a scale along two of its sides.

    Places are in units of these scales; sizes, widths and shifts are in CSS pixels. What lies outside the box is drawn
    at its edge, so that no value can spill over the page; text may stand anywhere.
    """

    def __init__(self, marks: list[str], corner: Ends, size: Ends, x: Ends, y: Ends) -> None:
        self.x, self.y = x, y
        self._marks, self._corner, self._size = marks, corner, size

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 11,
        colour: str = MUTED,
        anchor: Anchor = "start",
        dx: float = 0,
        dy: float = 0,
        **more: str,
    ) -> None:
        """Writes text, vertically centred on a place shifted by (`dx`, `dy`) to the right and down."""
        left, top = self._place(x, y)
        self._mark(
            "text", _words(text), x=left + dx, y=top + dy, dy=".35em",
            font_size=size, fill=colour, text_anchor=anchor, **more,
        )  # fmt: skip

    def rect(self, x: Ends, y: Ends, fill: str, inset: float = 0, said: str | None = None, **more: str | float) -> None:
        """Fills a rectangle between two values of x and two of y, left and right drawn in by `inset` pixels.

        What is `said` about a mark shows where a mouse points at it.
        """
        corners = self._inside(x[0], y[0]), self._inside(x[1], y[1])
        (left, right), (top, bottom) = (sorted(ends) for ends in zip(*corners, strict=True))
        width = max(right - left - 2 * inset, 0)
        self._mark("rect", _told(said), x=left + inset, y=top, width=width, height=bottom - top, fill=fill, **more)

    def line(self, points: Sequence[Ends], colour: str = MUTED, width: float = 1, dash: str | None = None) -> None:
        """Draws a line through the points (x, y)."""
        self._mark("path", d=self._path(points), fill="none", stroke=colour, stroke_width=width, stroke_dasharray=dash)

    def across(self, y: float, colour: str = MUTED, width: float = 1, dash: str | None = None) -> None:
        """Draws a line from the left side to the right."""
        self.line([(self.x[0], y), (self.x[1], y)], colour, width, dash)

    def upright(self, x: float, colour: str = MUTED, width: float = 1, dash: str | None = None) -> None:
        """Draws a line from the bottom to the top."""
        self.line([(x, self.y[0]), (x, self.y[1])], colour, width, dash)

    def band(
        self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], fill: str, opacity: float
    ) -> None:
        """Fills the area between two curves."""
        outline = [*zip(xs, lows, strict=True), *reversed([*zip(xs, highs, strict=True)])]
        self._mark("path", d=f"{self._path(outline)}Z", fill=fill, fill_opacity=opacity)

    def dots(self, points: Sequence[Ends], colour: str, diameter: float = 6, said: Sequence[str] = ()) -> None:
        """Draws a dot at every point; `said` has a text for each."""
        for (x, y), text in zip_longest(points, said):
            left, top = self._inside(x, y)
            self._mark("circle", _told(text), cx=left, cy=top, r=diameter / 2, fill=colour)

    def square(self, x: float, y: float, colour: str, side: float) -> None:
        """Draws a square around a point."""
        left, top = self._inside(x, y)
        self._mark("rect", x=left - side / 2, y=top - side / 2, width=side, height=side, fill=colour)

    def shares(self) -> None:
        """Draws a scale from 0 to 100 % up the left side, with a line across at every quarter but 0."""
        for share in QUARTERS:
            if share:
                self.across(share, TRACK, 0.8)
            self.text(self.x[0], share, f"{100 * share:.0f} %", size=10, anchor="end", dx=-5.5)

    def _place(self, x: float, y: float) -> Ends:
        """The place in pixels from the top left of the figure."""
        right, up = ((at - ends[0]) / (ends[1] - ends[0] or 1) for at, ends in ((x, self.x), (y, self.y)))
        return self._corner[0] + right * self._size[0], self._corner[1] + (1 - up) * self._size[1]

    def _inside(self, x: float, y: float) -> Ends:
        left, top = (
            max(start, min(start + size, at))
            for at, start, size in zip(self._place(x, y), self._corner, self._size, strict=True)
        )
        return left, top

    def _path(self, points: Sequence[Ends]) -> str:
        return "M" + " ".join(",".join(map(_number, self._inside(x, y))) for x, y in points)

    def _mark(self, tag: str, content: str | None = None, /, **attributes: str | float | None) -> None:
        said = "".join(
            f' {name.replace("_", "-")}="{value if isinstance(value, str) else _number(value)}"'
            for name, value in attributes.items()
            if value is not None
        )
        self._marks.append(f"<{tag}{said}/>" if content is None else f"<{tag}{said}>{content}</{tag}>")


class Sheet(Plot):
    """A figure, itself a plot in CSS pixels from the top left; `ident` makes its ids unique on the page."""

    def __init__(self, ident: str, width: float, height: float) -> None:
        super().__init__([], (0, 0), (width, height), (0, width), (height, 0))
        self.ident, self.width, self.height = ident, width, height

    def plot(self, left: float, top: float, width: float, height: float, x: Ends = (0, 1), y: Ends = (0, 1)) -> Plot:
        """Returns a plot at this place; `x` are the values at its left and right, `y` those at its bottom and top."""
        return Plot(self._marks, (left, top), (width, height), x, y)

    def svg(self, title: str, description: str) -> Markup:
        """Returns the figure as one <svg> element, named by `title`, told in words by `description`."""
        return Markup(
            f'<svg viewBox="0 0 {_number(self.width)} {_number(self.height)}" role="img" '
            f'aria-labelledby="{self.ident}-title {self.ident}-desc" font-family="var(--sans)">'
            f'<title id="{self.ident}-title">{_words(title)}</title>'
            f'<desc id="{self.ident}-desc">{_words(description)}</desc>'
            f"{''.join(self._marks)}</svg>"
        )


def _told(text: str | None) -> str | None:
    return None if text is None else f"<title>{_words(text)}</title>"


def _words(text: str) -> str:
    return str(escape(visible(text)))


def _number(value: float) -> str:
    """Returns at most two decimals: what is left out cannot be seen, and differs between machines."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
