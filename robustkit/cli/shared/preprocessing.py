"""What stands between the data and the model: --bounds, --mean and --std."""

from __future__ import annotations

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.option_types import NUMBERS

BOUNDS = click.option("--bounds", help="Smallest and largest input value  [default: the data's, mostly 0,1]")
MEAN = click.option("--mean", help="Subtracted per channel before the model, such as 0.485,0.456,0.406.")
STD = click.option("--std", help="Divides per channel after --mean, such as 0.229,0.224,0.225.")


def read_bounds(text: str | None) -> tuple[float, float] | None:
    """Returns the input range, None for the data's own.

    Raises:
        ConfigurationError: If `text` is not two rising numbers.
    """
    if text is None:
        return None
    limits = NUMBERS.read("--bounds", text)
    if len(limits) != 2 or not limits[0] < limits[1]:
        raise ConfigurationError(f"--bounds: expected two rising numbers such as 0,1, got {text!r}; correct it")
    return limits[0], limits[1]


def read_mean(text: str | None) -> tuple[float, ...] | None:
    """Returns what is subtracted from every channel, None for nothing."""
    return None if text is None else NUMBERS.read("--mean", text)


def read_std(text: str | None) -> tuple[float, ...] | None:
    """Returns what every channel is divided by, None for nothing."""
    return None if text is None else NUMBERS.read("--std", text)
