"""What the text of an option stands for: numbers, a fraction, a time, a requirement, a file that is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from robustkit.base.csv_table import read_csv
from robustkit.base.errors import ConfigurationError, RobustkitError

if TYPE_CHECKING:
    from robustkit.evaluation.slices import Groups
    from robustkit.report import About
    from robustkit.report.requirements.gates import Requirement

Value = TypeVar("Value")


class Typed(click.ParamType, Generic[Value]):  # type: ignore[type-arg]  # generic in recent versions of click only
    """A kind of option: its name in the help, what it expects, and how its text is read."""

    def __init__(self, name: str, expected: str, read: Callable[[str], Value]) -> None:
        self.name, self.expected, self._read = name, expected, read

    def read(self, option: str, text: str) -> Value:
        """Returns what `text`, given for `option`, stands for.

        Raises:
            ConfigurationError: If it is not what is expected.
        """
        try:
            return self._read(text)
        except RobustkitError:  # says more than we could
            raise
        except Exception:
            raise ConfigurationError(f"{option}: expected {self.expected}, got {text!r}; correct it") from None

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Reads what click has found; a value that was read before stays as it is."""
        option = parameter.opts[0] if parameter and parameter.opts else self.name
        return self.read(option, value) if isinstance(value, str) else value


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _fraction(text: str) -> float:
    bare = text.strip().removeprefix("\N{PLUS-MINUS SIGN}").removeprefix("+-")
    return float(bare.removesuffix("%")) / 100 if bare.endswith("%") else float(bare)


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    return float(text.rstrip("smh")) * units[text[-1] if text[-1:] in units else "s"]


def _key(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def _radii(text: str) -> tuple[str, ...]:
    return tuple(radius.strip() for radius in text.split(","))


def _threat(text: str) -> tuple[str, str]:
    norm, eps = text.split(":")
    return norm.strip(), eps.strip()


def _requirement(text: str) -> Requirement:
    from robustkit.report.requirements.gates import Requirement

    return Requirement.parse(text)


def _groups(text: str) -> Groups:
    from robustkit.evaluation.slices import read_groups

    return read_groups(Path(text))


def _about(text: str) -> About:
    from robustkit.report import read_about

    return read_about(text)


def _class_map(text: str) -> str:
    """Returns a class map as it is written into a manifest: what the file says, not where it was."""
    import json

    from robustkit.loading.class_map import read_class_map

    found = read_class_map(text)
    return found if isinstance(found, str) else json.dumps(found)


def _names(text: str) -> tuple[str, ...]:
    (names,) = read_csv(text, spaces=False)
    found = tuple(name.strip() for name in names)
    if not all(found):
        raise ValueError(text)
    return found


NUMBERS = Typed("numbers", "comma-separated numbers", _numbers)
FRACTION = Typed("fraction", "a fraction such as 2% or 0.02", _fraction)
TIME = Typed("time", "a time such as 90s, 10m or 1h", _seconds)
OUTPUT_KEY = Typed("KEY", "a name or a number from 0", _key)
RADII = Typed("eps,eps,...", "comma-separated radii", _radii)
THREAT = Typed("NORM:EPS", "a norm and its eps such as L2:0.5", _threat)
REQUIREMENT = Typed("rule", "NAME>=LIMIT or NAME<=LIMIT", _requirement)
GROUPS = Typed("file", "a CSV file", _groups)
CLASS_MAP = Typed("FILE", "a .csv or .json file", _class_map)
NAMES = Typed("name,name,...", "comma-separated names, those with a comma in quotes", _names)
ABOUT = Typed("file", "a TOML file", _about)
