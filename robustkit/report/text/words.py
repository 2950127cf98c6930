"""How every view writes a number or somebody else's name."""

from __future__ import annotations

import re
import unicodedata

from robustkit.base.settings import Scalar
from robustkit.maths.calibration import Estimate
from robustkit.maths.intervals import Proportion

EMPTY = "\N{EN DASH}"
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)\S*(?:\+00:00|Z)")
_SPACE = "\N{NO-BREAK SPACE}"
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # reorder the text that follows a name


def percent(fraction: float | None) -> str:
    """Returns a fraction as percent; only exactly none is "0.0 %" and only exactly all "100.0 %"."""
    if fraction is None:
        return EMPTY
    text = f"{100 * fraction:.1f}"
    if text == "0.0" and fraction > 0:
        text = "<0.1"
    if text == "100.0" and fraction < 1:
        text = ">99.9"
    return f"{text}{_SPACE}%"


def interval(share: Proportion) -> str:
    """Returns the ends of the Wilson interval in percent, such as "28.4-34.1 %" with an en dash."""
    low, high = share.wilson
    return f"{100 * low:.1f}{EMPTY}{100 * high:.1f}{_SPACE}%"


def counts(share: Proportion) -> str:
    """Returns "k of n"."""
    return f"{share.k:,} of {share.n:,}"


def decimal(value: float | None) -> str:
    """Returns a calibration figure to three places."""
    return EMPTY if value is None else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def estimate(value: Estimate | None) -> str:
    """Returns a value and, where it has one, its interval, to three places."""
    if value is None or value.low is None or value.high is None:
        return decimal(value.value if value else None)
    between = EMPTY if value.low >= 0 else " to "
    return f"{decimal(value.value)} ({decimal(value.low)}{between}{decimal(value.high)})"


def signed(value: float, places: int) -> str:
    """Returns a difference with its sign, none where it rounds to zero."""
    text = f"{value:+.{places}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text[1:]


def p_value(value: float | None) -> str:
    """Returns a p value to three places; none is exactly 0."""
    if value is None:
        return EMPTY
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def scalar(value: Scalar) -> str:
    """Returns a setting or a measured value as a person would write it."""
    if value is None:
        return EMPTY
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:.4g}" if isinstance(value, float) else value


def duration(seconds: float) -> str:
    """Returns a wall time in the largest unit that leaves at least two of it."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f}{_SPACE}{unit}"
    return f"{seconds:.1f}{_SPACE}s"


def moment(created: str) -> str:
    """Returns "2026-01-02 03:04 UTC" for a time in ISO 8601 with offset 0; anything else as it is."""
    found = _MOMENT.fullmatch(created)
    return f"{found[1]} {found[2]} UTC" if found else created


def visible(text: str) -> str:
    """Returns the text with what cannot be printed, or would reorder its neighbours, made visible."""
    if text.isprintable():
        return text
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if char in _TURNING or (unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t")
        else char
        for char in text
    )


def shorten(text: str, width: int) -> str:
    """Returns the text on one line and cut to about `width` average Latin letters."""
    text = " ".join(visible(text).split())
    room = float(width)
    for kept, char in enumerate(text):
        room -= _breadth(char)
        if room < 0:
            return text[: max(kept - 1, 0)].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    return text


def markdown(text: str, width: int = 60) -> str:
    """Returns somebody's own words on one line of Markdown: no markup, no HTML, and nobody called by an @."""
    text = re.sub(r"([\\`*_~\[\]|#!])", r"\\\1", shorten(text, width))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("@", "@\N{ZERO WIDTH SPACE}")


def _breadth(char: str) -> float:
    """How broad a letter is, in average Latin letters: enough to tell what fits into a figure."""
    if unicodedata.east_asian_width(char) in "WF":
        return 2.0
    return 1.8 if char in "MW" else 1.4 if char in "mw@%" else 1.2 if char.isupper() else 1.0
