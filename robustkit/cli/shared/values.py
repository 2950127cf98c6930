"""What a text typed on the command line stands for."""

from __future__ import annotations

from robustkit.base.errors import ConfigurationError


def numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    """Returns the numbers of a comma list, None for None.

    Raises:
        ConfigurationError: If something is no number.
    """
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigurationError(f"--{name}: expected numbers parted by commas, got {text!r}; correct it") from None


def fraction(name: str, text: str | None) -> float | None:
    """Returns what "2%", "±2%" or "0.02" stands for, None for None.

    Raises:
        ConfigurationError: If it is none of these.
    """
    if text is None:
        return None
    try:
        bare = text.strip().removeprefix("\N{PLUS-MINUS SIGN}").removeprefix("+-")
        return float(bare.removesuffix("%")) / 100 if bare.endswith("%") else float(bare)
    except ValueError:
        raise ConfigurationError(f"--{name}: expected a share such as 2% or 0.02, got {text!r}; correct it") from None


def seconds(name: str, text: str | None) -> float | None:
    """Returns what "90", "90s", "10m" or "1.5h" stands for, None for None.

    Raises:
        ConfigurationError: If it is none of these.
    """
    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        return float(text.rstrip("smh")) * units[text[-1] if text[-1:] in units else "s"]
    except ValueError:
        raise ConfigurationError(
            f"--{name}: expected a time such as 90s, 10m or 1h, got {text!r}; correct it"
        ) from None
