"""Settings of named things: the text that spells them, and the values they may have."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sized
from pathlib import Path
from types import NoneType
from typing import Any

from robustkit.base.errors import ConfigurationError, suggest

Scalar = str | int | float | bool | None
ANY = -sys.maxsize  # for `integer`: no least one
_MOST = 10**12  # more than any run could count to

ADDRESS = r"[^\s:=,]+:[^\W\d]\w*"  # of an object, package.module:name
_ADDRESSED = re.compile(rf"\s*({ADDRESS})\s*(?::(.*))?")
_NAMES: dict[type, str] = {str: "a text", NoneType: "None", Mapping: "a dict"}
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


def plain(value: Any) -> Any:
    """Returns a NumPy or torch scalar as the Python value it holds, anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def integer(who: str, setting: str, value: object, least: int = 1, most: int | None = None) -> int:
    """Returns the value of a setting, an integer in `least`..`most`, or of at most 10^12 without one; True is none.

    Raises:
        ConfigurationError: If it is not.
    """
    given = plain(value)
    if type(given) is int and least <= given <= (_MOST if most is None else most):
        return given
    if type(given) is int and given > _MOST:
        most = most or _MOST
    kind = f"an integer >= {least}" if most is None else f"an integer in {least}..{most}"
    kind = "an integer" if least == ANY else kind
    raise wrong(who, setting, value, kind)


def between(who: str, setting: str, value: object, interval: str) -> float:
    """Returns the value of a setting, a number in an interval such as "(0, 1]"; NaN and True are in none.

    Raises:
        ConfigurationError: If it is not.
    """
    low, high = map(float, interval[1:-1].split(","))
    number = plain(value)
    if isinstance(number, int | float) and not isinstance(number, bool):
        above = number > low if interval[0] == "(" else number >= low
        below = number < high if interval[-1] == ")" else number <= high
        if above and below:
            return number
    raise ConfigurationError(f"{who}: expected {setting} in {interval}, got {shown(value)}; correct it")


def flag(who: str, setting: str, value: object) -> bool:
    """Returns the value of a setting, True or False and nothing else.

    Raises:
        ConfigurationError: If it is not.
    """
    given = plain(value)
    if not isinstance(given, bool):
        raise wrong(who, setting, value, "True or False")
    return given


def choice(who: str, setting: str, value: object, known: Collection[str]) -> str:
    """Returns the value of a setting, one of the known names.

    Raises:
        ConfigurationError: If it is not, with the nearest name.
    """
    if isinstance(value, str) and value in known:
        return value
    hint = suggest(value, known) if isinstance(value, str) else f"; known: {', '.join(sorted(known))}"
    raise ConfigurationError(f"{who}: expected a known {setting}, got {shown(value)}{hint}")


def instance(who: str, setting: str, value: object, *kinds: type, fix: str = "correct it") -> None:
    """Checks that the value of a setting is of one of these types.

    Raises:
        ConfigurationError: If it is not.
    """
    if not isinstance(value, kinds):
        raise wrong(who, setting, value, " or ".join(map(_called, kinds)), fix)


def _called(kind: type) -> str:
    name = kind.__name__
    return _NAMES.get(kind) or f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def interval(who: str, setting: str, value: object) -> tuple[float, float]:
    """Returns the value of a setting, two numbers (low, high), the first below the second; both finite or neither.

    Raises:
        ConfigurationError: If it is not.
    """
    given: Any = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(given, tuple | list) and len(given) == 2:
        low, high = (plain(end) for end in given)
        finite = {math.isfinite(end) if type(end) in (int, float) else None for end in (low, high)}
        if None not in finite and len(finite) == 1 and low < high:
            return low, high
    raise ConfigurationError(
        f"{who}: expected {setting} (low, high) with low < high, got {shown(value)}; give two finite numbers"
    )


def distinct(who: str, setting: str, value: object, count: int | None = None) -> tuple[str, ...]:
    """Returns the value of a setting, different texts, `count` of them where that is known.

    Raises:
        ConfigurationError: If it is not.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise wrong(who, setting, value, "a list of texts")
    names = tuple(value)
    if not names:
        raise wrong(who, setting, value, "at least one text", "leave it out")
    if odd := [name for name in names if not isinstance(name, str) or not name.strip()]:
        raise wrong(who, setting, odd[0], "texts that are not empty")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigurationError(f"{who}: expected every one of {setting} once, got {twice[0]!r} twice; rename one")
    if count is not None and len(names) != count:
        raise ConfigurationError(f"{who}: expected {count} {setting}, got {len(names)}; give one for each")
    return names


def settle(who: str, value: Any) -> None:
    """Checks the fields of a frozen dataclass that are annotated int, float or bool, and makes their scalars plain.

    Raises:
        ConfigurationError: If one is no finite number of its kind.
    """
    for field in dataclasses.fields(value):
        kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
        given = getattr(value, field.name)
        if given is None and kind.endswith(" | None"):
            continue
        number = type(plain(given)) in (int, float, bool) and not kind.startswith("bool")
        if number and "__post_init__" in vars(type(value)):
            object.__setattr__(value, field.name, plain(given))
            continue  # its own checks know the range
        match kind.removesuffix(" | None"):
            case "int":
                given = integer(who, field.name, given, ANY)
            case "float":
                given = _finite(who, field.name, given)
            case "bool":
                given = flag(who, field.name, given)
        object.__setattr__(value, field.name, given)


def _finite(who: str, setting: str, value: object) -> int | float:
    number = plain(value)
    if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number):
        return number
    raise wrong(who, setting, value, "a finite number")


def function(who: str, setting: str, value: object) -> None:
    """Checks that the value of a setting can be called.

    Raises:
        ConfigurationError: If it cannot.
    """
    if not callable(value):
        raise wrong(who, setting, value, "a function")


def every(who: str, setting: str, values: object, *kinds: type) -> None:
    """Checks that the value of a setting is a list or tuple of things of these types, which may be empty.

    Raises:
        ConfigurationError: If it is not.
    """
    instance(who, setting, values, list, tuple)
    for value in values if isinstance(values, list | tuple) else ():
        instance(who, f"every one of {setting}", value, *kinds)


def items(who: str, setting: str, value: Any) -> list[Any]:
    """Returns the value of a setting as a list: anything to iterate over but a text.

    Raises:
        ConfigurationError: If it is not.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise wrong(who, setting, value, "a list")
    return list(value)


def seed(who: str, value: object) -> int:
    """Returns a seed, an integer from 0 to 2**63 - 1.

    Raises:
        ConfigurationError: If it is none.
    """
    return integer(who, "seed", value, 0, 2**63 - 1)


def sizes(who: str, batch_size: object, limit: object, seed_: object) -> tuple[int, int | None, int]:
    """Returns batch size, limit (None for all samples) and seed of something that goes over data.

    Raises:
        ConfigurationError: If one is none.
    """
    most = None if limit is None else integer(who, "limit", limit)
    return integer(who, "batch_size", batch_size), most, seed(who, seed_)


def path(who: str, setting: str, value: object) -> Path:
    """Returns the value of a setting as a path.

    Raises:
        ConfigurationError: If it is no text or path, or an empty one.
    """
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise wrong(who, setting, value, "a path")
    return Path(value)


def wrong(who: str, setting: str, value: object, kind: str, fix: str = "correct it") -> ConfigurationError:
    """Returns the error that the value of a setting is not of some kind."""
    return ConfigurationError(f"{who}: expected {setting} to be {kind}, got {shown(value)}; {fix}")


def shown(value: object) -> str:
    """Returns how a wrong value is shown: itself where that is short, else its type and its shape or length."""
    name = type(value).__name__
    if shape := tuple(getattr(value, "shape", ())):
        return f"{name} of shape {shape}"
    text = " ".join(repr(value).split())
    if len(text) <= 60 and " object at 0x" not in text:
        return text
    return f"{name} of {len(value)}" if isinstance(value, Sized) else name
