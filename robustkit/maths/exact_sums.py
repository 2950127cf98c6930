"""Sums that do not depend on the order of what is added, so that parts can be put together again."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

_BITS = 96
"""Numbers are rounded to a multiple of 2**-96, 1.3e-29, before they are added; from there on nothing is lost."""


class ExactSums:
    """One sum for each of `size` places, held as whole numbers of any length.

    Args:
        totals: Whole multiples of 2**-96, as `totals` gives them; zeros of this number where it is an int.
    """

    def __init__(self, totals: int | Iterable[int]) -> None:
        self.totals = [0] * totals if isinstance(totals, int) else list(totals)

    def add(self, values: npt.ArrayLike) -> None:
        """Adds one finite float64 number to every sum."""
        scaled = (int(math.ldexp(value, _BITS)) for value in np.asarray(values, dtype=np.float64).tolist())
        self.update(ExactSums(scaled))

    def update(self, other: ExactSums) -> None:
        """Adds other sums, place by place."""
        self.totals = [mine + theirs for mine, theirs in zip(self.totals, other.totals, strict=True)]

    def values(self) -> npt.NDArray[np.float64]:
        """Returns the sums, each rounded once."""
        return np.array([total / 2**_BITS for total in self.totals])
