"""Numbers that differ from one coordinate of an input to the next: radii and ends of the input range."""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import interval, plain, shown, wrong

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class PerCoordinate:
    """A float64 array as a value: it can be compared, hashed and written down, and never changes.

    Attributes:
        values: The numbers, the last axis fastest.
        shape: Of the array; it broadcasts against one input, such as (13,) for a table or (3, 1, 1) for channels.
    """

    values: tuple[float, ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.values or len(self.values) != math.prod(self.shape):
            raise ValueError(f"expected {math.prod(self.shape)} values for shape {self.shape}, got {len(self.values)}")

    @property
    def plain(self) -> PerCoordinate:
        """The numbers alone, without what else a kind of them may bring."""
        return PerCoordinate(self.values, self.shape)

    @cached_property
    def least(self) -> float:
        """The smallest value."""
        return min(self.values)

    @cached_property
    def most(self) -> float:
        """The largest value."""
        return max(self.values)

    @cached_property
    def moving(self) -> tuple[float, float]:
        """The smallest and the largest value that is not zero; zeros where there is none."""
        moving = [value for value in self.values if value]
        return min(moving, default=0.0), max(moving, default=0.0)

    @cached_property
    def zeros(self) -> int:
        """How many values are zero."""
        return self.values.count(0.0)

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that tell it from others: of the SHA-256 over shape and values."""
        content = struct.pack(f"<{len(self.shape)}q{len(self.values)}d", *self.shape, *self.values)
        return hashlib.sha256(content).hexdigest()[:12]

    def on(self, x: Tensor) -> Tensor:
        """Returns the values as a float64 tensor that broadcasts against the rows of `x` (N, ...).

        Raises:
            ConfigurationError: If it would not, or would make the rows larger.
        """
        given, own = tuple(x.shape[1:]), self.shape
        padded = (1,) * (len(given) - len(own)) + own
        if len(own) > len(given) or any(one not in (1, all_) for one, all_ in zip(padded, given, strict=True)):
            raise ConfigurationError(
                f"threat: expected bounds, eps and mask that broadcast to an input of shape {given}, got shape {own}; "
                "reshape them, such as (3, 1, 1) for the channels of an image"
            )
        return self._tensor.to(x.device).view(padded)

    @cached_property
    def _tensor(self) -> Tensor:
        import torch

        return torch.tensor(self.values, dtype=torch.float64, device="cpu")

    def resized(self, most: float) -> PerCoordinate:
        """Returns the same proportions with `most` as the largest value; what is fixed stays fixed."""
        if self.most in (0.0, math.inf):
            return replace(self, values=tuple(most if value else 0.0 for value in self.values))
        return replace(self, values=tuple(most * (value / self.most) for value in self.values))

    def __format__(self, spec: str) -> str:
        """Returns the range of the values, each in the format `spec`."""
        return f"({self.least:{spec}} to {self.most:{spec}} per coordinate)" if spec else str(self)

    def __str__(self) -> str:
        """Returns the range of values that are not zero, how many are, and which array it is."""
        low, high = (f"{end:g}" for end in self.moving)
        fixed = f", {self.zeros} of {len(self.values)} fixed" if self.zeros else ""
        return f"{low if low == high else f'{low} to {high}'} per coordinate{fixed} ({self.digest})"

    def __repr__(self) -> str:
        """Returns its range and which array it is."""
        return f"PerCoordinate({self.least:g} to {self.most:g}, shape {self.shape}, {self.digest})"


Number = float | PerCoordinate
Bounds = tuple[Number, Number]


def is_array(value: object) -> bool:
    """Returns whether a value holds numbers along at least one axis, like a tensor, an array or a table's column."""
    return isinstance(value, PerCoordinate) or (getattr(value, "ndim", 0) > 0 and hasattr(value, "shape"))


def per_coordinate(who: str, setting: str, value: Any) -> Number:
    """Returns an array or list of numbers as a value; a plain number where all its numbers are the same.

    Raises:
        ConfigurationError: If it holds something else, such as NaN.
    """
    import numpy as np

    if isinstance(value, PerCoordinate):
        return value
    try:
        held = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        array = np.asarray(held, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        raise wrong(who, setting, value, "a number or an array of numbers") from None
    if array.size == 0 or np.isnan(array).any():
        raise wrong(who, setting, value, "numbers", "replace what is empty or NaN")
    values = tuple(array.ravel().tolist())
    return values[0] if len(set(values)) == 1 else PerCoordinate(values, array.shape)


def bounds_of(who: str, setting: str, value: Any) -> Bounds:
    """Returns lowest and highest legal inputs: two numbers, as `interval` takes them, or numbers per coordinate.

    Raises:
        ConfigurationError: If it is something else, or the lowest is above the highest anywhere.
    """
    import numpy as np

    pair = isinstance(value, tuple | list) or is_array(value)
    if not pair or len(value) != 2 or not any(isinstance(end, list | tuple) or is_array(end) for end in value):
        return interval(who, setting, value)
    low, high = (
        per_coordinate(who, setting, end) if isinstance(end, list | tuple) or is_array(end) else plain(end)
        for end in value
    )
    if not isinstance(low, PerCoordinate) and not isinstance(high, PerCoordinate):
        return interval(who, setting, (low, high))
    try:
        ends = np.broadcast_arrays(*(as_array(end) for end in (low, high)))
        fine = bool((ends[0] <= ends[1]).all() and (ends[0] < np.inf).all() and (ends[1] > -np.inf).all())
        fine = fine and bool((ends[0] < ends[1]).any())
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise ConfigurationError(
            f"{who}: expected {setting} (low, high) with low <= high at every coordinate and low < high at one, got "
            f"{_said(low)} and {_said(high)}; correct them"
        )
    return low, high


def as_array(number: Any) -> Any:
    """Returns a number, or one for each coordinate, as a float64 array; raises TypeError where it is neither."""
    import numpy as np

    if isinstance(number, PerCoordinate):
        return np.asarray(number.values).reshape(number.shape)
    if isinstance(number, bool | str | bytes):
        raise TypeError
    return np.asarray(number, dtype=np.float64)


def _said(end: Any) -> str:
    return f"{end:g}" if isinstance(end, PerCoordinate | int | float) else shown(end)


def ends_on(bounds: Bounds, x: Tensor) -> tuple[Any, Any]:
    """Returns lowest and highest legal values for the rows of `x`: both numbers, or both tensors in its precision."""
    if not by_coordinate(*bounds):
        return bounds
    import torch

    low, high = (
        end.on(x).to(x.dtype) if isinstance(end, PerCoordinate) else torch.tensor(end, dtype=x.dtype, device=x.device)
        for end in bounds
    )
    return low, high


def overall(bounds: Bounds) -> tuple[float, float]:
    """Returns the range that holds those of all coordinates; without ends where one of them has none."""
    low, high = bounds
    ends = (
        low.least if isinstance(low, PerCoordinate) else low,
        high.most if isinstance(high, PerCoordinate) else high,
    )
    return ends if all(map(math.isfinite, ends)) else (-math.inf, math.inf)


def one_range(who: str, bounds: Bounds) -> tuple[float, float]:
    """Returns bounds that are two numbers.

    Raises:
        ConfigurationError: If they differ by coordinate.
    """
    low, high = bounds
    if isinstance(low, PerCoordinate) or isinstance(high, PerCoordinate):
        raise ConfigurationError(
            f"{who}: expected one input range for all coordinates, got {low:g} and {high:g}; leave it out, or scale "
            "the inputs to a common range"
        )
    return low, high


def by_coordinate(*values: object) -> bool:
    """Returns whether any of the values differs from one coordinate to the next."""
    return any(isinstance(value, PerCoordinate) for value in values)
