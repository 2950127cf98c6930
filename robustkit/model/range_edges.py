"""Gradients that vanish only at the ends of the input range, and how attacks get past them.

A clamp, hardtanh or ReLU in front of a network changes nothing for legal inputs, but its gradient at exactly 0 and 1 is
zero, or half. Half of all pixels may be there. So the gradient is taken a hair inside, where it is the network's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robustkit.base.per_coordinate import Bounds, by_coordinate, ends_on

HAIR = 2  # units in the last place of the model's numbers, at the larger end of the range
KEPT = 0.75  # of the gradient a hair inside; where less is left at the ends it is lost
MOST = 0.9  # of the entries; random gradients are lost by chance on fewer than half


def inside(x: Tensor, bounds: Bounds, dtype: torch.dtype) -> Tensor:
    """Returns `x` (N, ...) at least a hair inside `bounds`; the gradient passes as if nothing had been changed.

    Args:
        x: Inputs in `bounds`.
        bounds: Lowest and highest legal value.
        dtype: Of the model's numbers, in which a hair is to be seen.
    """
    low, high = ends_on(bounds, x)
    if by_coordinate(*bounds):
        largest = torch.maximum(*(torch.where(end.isfinite(), end.abs(), 0.0) for end in (low, high)))
        hair = torch.minimum(HAIR * torch.finfo(dtype).eps * largest, (high - low) / 2)
    else:
        hair = HAIR * torch.finfo(dtype).eps * max(abs(low), abs(high))
    pulled: Tensor = _Inside.apply(x, low + hair, high - hair)
    return pulled


class _Inside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Any, high: Any) -> Tensor:
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad, None, None


def only_there(x: Tensor, grad: Tensor, bounds: Bounds) -> bool:
    """Returns whether `grad` is zero wherever `x` is at one end of the range, but not everywhere."""
    return bool((grad != 0).any()) and any(
        bool((x == end).any()) and not bool(grad[x == end].any()) for end in ends_on(bounds, x)
    )


def vanished(x: Tensor, grad: Tensor, within: Tensor, bounds: Bounds) -> bool:
    """Returns whether at an end of the range nearly all of the gradient a hair inside is lost, or half of each.

    Args:
        x: Inputs, many entries of which are at the ends.
        grad: The gradient there.
        within: The gradient a hair inside.
        bounds: Lowest and highest legal value.
    """
    moving = within != 0
    lost = grad.abs() < KEPT * within.abs()
    ends = [moving & (x == end) for end in ends_on(bounds, x)]
    return any(bool(end.any()) and float(lost[end].double().mean()) > MOST for end in ends)
