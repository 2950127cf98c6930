"""The radius of a threat as people write it: a number, a fraction, or an array with a mask."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from robustkit.base.errors import ConfigurationError
from robustkit.base.per_coordinate import Bounds, Number, PerCoordinate, as_array, is_array, overall, per_coordinate
from robustkit.base.settings import plain, shown

_FAR = 2.0**20  # a power of two, so that proportions stay as they are to the last bit

Eps = str | float | Fraction | PerCoordinate | Tensor


def parse_eps(eps: Eps) -> float:
    """Returns the radius as float64; a text may be a decimal, an exact fraction such as "8/255", or "inf".

    Where the radius differs by coordinate, it is the largest.

    Raises:
        ConfigurationError: If it is no number >= 0.
    """
    eps = plain(eps)
    if isinstance(eps, PerCoordinate):
        return eps.most
    try:
        if isinstance(eps, bool | bytes) or is_array(eps):
            raise TypeError
        radius = float(Fraction(eps)) if isinstance(eps, str) and eps != "inf" else float(eps)
    except (ValueError, ZeroDivisionError, OverflowError, TypeError):
        radius = math.nan
    if isinstance(eps, str) and eps.strip().lower().endswith("db"):
        raise ConfigurationError(
            f"eps: expected one radius for all inputs, got {shown(eps)}, which differs by signal; divide signals"
            " by their L2 norms, pass these on (robustkit.data.pack) and give 10**(-dB/20), 0.0316 for 30 dB"
        )
    if not radius >= 0:
        raise ConfigurationError(
            f"eps: expected a number >= 0 or a fraction such as '8/255', got {shown(eps)}; correct it"
        )
    return radius


def read_eps(eps: Any, mask: Any = None) -> Eps:
    """Returns a radius as given, an array of radii as a value, and a radius of 0 where `mask` forbids to change.

    Args:
        eps: A number, a text such as "8/255", or numbers >= 0 that broadcast to one input.
        mask: Booleans that broadcast with them: True where the attacker may change the input.

    Raises:
        ConfigurationError: If it is neither, or some radii are infinite and others are not.
    """
    eps = plain(eps)
    radii = per_coordinate("eps", "the radii", eps) if is_array(eps) else eps
    if mask is not None:
        radii = _masked(radii, mask)
    if isinstance(radii, PerCoordinate) and (
        radii.least < 0 or (math.isinf(radii.most) and any(0 < value < math.inf for value in radii.values))
    ):
        raise ConfigurationError(
            f"eps: expected numbers >= 0, finite wherever one is, got {radii.least:g}..{radii.most:g}; use 0 where"
            " nothing may change"
        )
    return radii


def _masked(radii: Any, mask: Any) -> Number:
    may = per_coordinate("threat", "mask", mask)
    if set(may.values if isinstance(may, PerCoordinate) else (may,)) - {0.0, 1.0}:
        raise ConfigurationError(
            f"threat: expected mask to hold True where an input may change and False elsewhere, got {shown(mask)};"
            " compare it with 0, or give eps one radius per coordinate"
        )
    each = as_array(radii if isinstance(radii, PerCoordinate) else parse_eps(radii))
    try:
        masked = np.where(as_array(may) > 0, each, 0.0)
    except ValueError:
        raise ConfigurationError(
            f"threat: expected a mask that broadcasts with eps, got {shown(mask)} and {radii}; give both the shape of "
            "one input"
        ) from None
    return per_coordinate("eps", "the radii", masked)


def resized(eps: Eps, radius: Eps) -> Eps:
    """Returns `radius`; where `eps` differs by coordinate, radii in its proportions, of which it is the largest."""
    return eps.resized(parse_eps(radius)) if isinstance(eps, PerCoordinate) else radius


def boundless(eps: Eps) -> Eps:
    """Returns an eps that only the input range limits; what is fixed stays so, and distances keep their unit."""
    if not isinstance(eps, PerCoordinate):
        return "inf"
    return replace(eps, values=tuple(_FAR * value for value in eps.values))


def unit_of(eps: Eps) -> PerCoordinate | None:
    """Returns how eps differs by coordinate, 1 where it is largest: the unit of radii and distances; else None."""
    return eps.resized(1.0) if isinstance(eps, PerCoordinate) else None


def eps_text(eps: Eps) -> str:
    """Returns `eps` as a person would type it: a short decimal, else k/255 where a float is exactly that."""
    if isinstance(eps, (str, Fraction, PerCoordinate)):
        return str(eps).strip()
    radius = float(eps)
    levels = round(radius * 255)
    if float(short := f"{radius:g}") == radius:
        return short
    return f"{levels}/255" if levels / 255 == radius else repr(radius)


def refuse_grey_levels(eps: Eps, bounds: Bounds) -> None:
    """Refuses an eps in 255ths where the input range is not one unit wide: it is in input units, not in grey levels.

    The same number as a decimal is taken as meant.

    Raises:
        ConfigurationError: If so.
    """
    low, high = overall(bounds)
    if isinstance(eps, PerCoordinate):
        return
    if not eps_text(eps).replace(" ", "").endswith("/255") or not math.isfinite(high - low) or high - low == 1:
        return
    radius = parse_eps(eps)
    raise ConfigurationError(
        f"eps: expected a decimal number in input units for inputs in {low:g}..{high:g}, got {eps_text(eps)}; give"
        f" {radius * (high - low):.6g} for {eps_text(eps)} of the range, {radius:.6g} if it is meant as it stands, or"
        " inputs in 0..1 with mean and std if these are normalised"
    )


def refuse_fractions(eps: Eps, norm: str, places: str) -> None:
    """Refuses an eps that is no number of `places`, which `norm` counts; what is fixed may have 0.

    Raises:
        ConfigurationError: If it is no whole number, or not the same wherever something may change.
    """
    counts = set(eps.moving) if isinstance(eps, PerCoordinate) else {parse_eps(eps)}
    if len(counts) > 1 or any(not count.is_integer() for count in counts - {math.inf}):
        raise ConfigurationError(
            f"threat: expected a whole number as eps in {norm}, how many {places} may change, got {eps}; such as 10"
        )
