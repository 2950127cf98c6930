"""A small page fragment for notebooks: self-contained, in the colours of whatever it is shown in."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from robustkit.maths.intervals import Proportion

# Ink is the notebook's own, so that light and dark both work; only the bars bring a colour that shows on either.
_STYLE = "font:14px/1.5 system-ui,sans-serif;color:inherit;max-width:46em"
_MUTED = "opacity:.7"
_CELL = "padding:.25em 1.2em .25em 0;text-align:left;border:0;background:none;vertical-align:middle;color:inherit"
_CLEAN, _ROBUST = "#8ba7c2", "#2f7ab5"


def card(title: str, notes: Sequence[str], shares: Sequence[tuple[str, Proportion, bool]], doubt: str | None) -> str:
    """Returns HTML without scripts, style sheets or addresses.

    Args:
        title: The headline.
        notes: One line each, below the figures.
        shares: Name, value, and whether the value is one under attack.
        doubt: What strikes out the values under attack, None where nothing does.
    """
    rows = "".join(_row(name, share, attacked, doubt) for name, share, attacked in shares)
    lines = "".join(f'<div style="{_MUTED}">{escape(note)}</div>' for note in notes)
    warning = f'<div style="font-weight:600">Robust accuracy is {escape(doubt)}.</div>' if doubt else ""
    return (
        f'<div style="{_STYLE}"><div style="font-size:1.15em;font-weight:600">{escape(title)}</div>'
        f'<table style="border-collapse:collapse;margin:.4em 0;font-size:1em;color:inherit">{rows}</table>'
        f"{warning}{lines}</div>"
    )


def _row(name: str, share: Proportion, attacked: bool, doubt: str | None) -> str:
    value, (low, high) = share.value or 0.0, share.wilson
    text = "no samples" if share.value is None else f"{100 * value:.1f}&nbsp;%"
    if attacked and doubt:
        text = f"<s>{text}</s>"
    fill = f"width:{100 * value:.1f}%;height:100%;background:{_ROBUST if attacked else _CLEAN}"
    bar = (
        '<div style="width:12em;height:.7em;border:1px solid currentColor;border-radius:2px">'
        f'<div style="{fill}{";opacity:.35" if attacked and doubt else ""}"></div></div>'
    )
    around = f"{100 * low:.1f}&ndash;{100 * high:.1f}&nbsp;%, {share.k:,} of {share.n:,}"
    return (
        f'<tr style="background:none"><th scope="row" style="{_CELL};font-weight:500">{escape(name)}</th>'
        f'<td style="{_CELL};font-variant-numeric:tabular-nums;font-weight:600">{text}</td>'
        f'<td style="{_CELL}">{bar}</td><td style="{_CELL};{_MUTED}">{around}</td></tr>'
    )
