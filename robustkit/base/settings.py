"""Settings of named things: the text that spells them, and the values they may have."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from robustkit.base.errors import ConfigurationError, suggest

Scalar = str | int | float | bool | None

ADDRESS = r"[^\s:=,]+:[^\W\d]\w*"  # of an object, package.module:name
_ADDRESSED = re.compile(rf"\s*({ADDRESS})\s*(?::(.*))?")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "none": None}


def split(text: str, known: Collection[str] = ()) -> tuple[str, tuple[str, ...]]:
    """Returns the name and the settings of a text such as "pgd:steps=40,loss=margin" or "package.module:Class:steps=4".

    Args:
        text: A name, then optionally a colon and settings parted by commas.
        known: Names that are never those of a module, so that "foolbox:LinfPGD" is a name and a word.
    """
    name, _, rest = text.partition(":")
    if name.strip() not in known and (address := _ADDRESSED.fullmatch(text)):
        name, rest = address[1], address[2] or ""
    return name.strip(), tuple(filter(None, (item.strip() for item in rest.split(","))))


def read(who: str, items: Iterable[str], known: Collection[str] | None) -> dict[str, Scalar]:
    """Returns the values of settings such as "steps=40", by name.

    Args:
        who: Whose settings they are, for messages.
        items: As `split` returns them.
        known: The names there are; None takes any.

    Raises:
        ConfigurationError: If one is not spelled name=value, does not exist or is given twice.
    """
    found: dict[str, Scalar] = {}
    for item in items:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or (known is not None and name not in known):
            hint = suggest(name, known) if known else "; correct it" if known is None else "; it has none"
            raise ConfigurationError(f"{who}: expected settings name=value, got {item!r}{hint}")
        if name in found:
            raise ConfigurationError(f"{who}: expected every setting once, got {name} twice; drop one")
        found[name] = scalar(value)
    return found


def scalar(text: str) -> Scalar:
    """Returns the number, truth value or None that `text` spells, else the text itself ("8/255" stays a text)."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def integer(who: str, setting: str, value: object, least: int = 1, most: int | None = None) -> None:
    """Checks that the value of a setting is an integer in `least`..`most`; True is none.

    Raises:
        ConfigurationError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= (value if most is None else most):
        kind = f"an integer >= {least}" if most is None else f"an integer in {least}..{most}"
        raise ConfigurationError(f"{who}: expected {setting} to be {kind}, got {value!r}; correct it")


def between(who: str, setting: str, value: object, interval: str) -> None:
    """Checks that the value of a setting is a number in an interval such as "(0, 1]"; NaN and True are in none.

    Raises:
        ConfigurationError: If it is not.
    """
    low, high = map(float, interval[1:-1].split(","))
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
    above = number > low if interval[0] == "(" else number >= low
    below = number < high if interval[-1] == ")" else number <= high
    if not (above and below):
        raise ConfigurationError(f"{who}: expected {setting} in {interval}, got {value!r}; correct it")
