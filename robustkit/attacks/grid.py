"""The levels that stored values can have, such as the 256 of an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """`levels` values at equal distances from `low` to `high`, counted from 0."""

    low: float
    high: float
    levels: int

    @property
    def step(self) -> float:
        """Distance of two neighbouring levels."""
        return (self.high - self.low) / (self.levels - 1)

    def of(self, x: Tensor) -> Tensor:
        """Returns on which level each value of `x` lies, or between which, in float64."""
        return (x.double() - self.low) / self.step

    def holds(self, x: Tensor) -> Tensor:
        """Returns which values of `x` are on a level, up to the rounding of float32."""
        at = self.of(x)
        return (at - at.round()).abs() < 1e-3

    def values(self, at: Tensor, dtype: torch.dtype) -> Tensor:
        """Returns the values of the levels `at`, those outside moved to the ends."""
        return (self.low + at.clamp(0, self.levels - 1) * self.step).to(dtype).clamp(self.low, self.high)
