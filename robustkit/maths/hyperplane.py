"""The shortest way to a hyperplane inside an input range, in each norm, exactly.

Every function works on rows, like `robustkit.maths.norms`: a row of `normal` and its `gap` stand for the hyperplane of
all delta with gap + <normal, delta> = 0, seen from delta = 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from robustkit.maths.norms import Norm, per_row, size

_DUAL: dict[Norm, Norm] = {"Linf": "L1", "L2": "L2", "L1": "Linf"}
_TINY = torch.finfo(torch.float64).tiny


def distance(normal: Tensor, gap: Tensor, norm: Norm) -> Tensor:
    """Returns how far the hyperplane is without an input range, |gap| / ||normal||_dual in float64, shape (N,)."""
    return gap.double().abs() / size(normal, _DUAL[norm]).clamp(min=_TINY)


def inner(normal: Tensor, delta: Tensor) -> Tensor:
    """Returns the inner product of every row in float64, shape (N,)."""
    return (normal.double() * delta).flatten(1).sum(dim=1)


def shortest(normal: Tensor, gap: Tensor, lower: Tensor, upper: Tensor, norm: Norm) -> Tensor:
    """Returns the delta of least `norm` on the hyperplane with lower <= delta <= upper, in the precision of `lower`.

    Where the input range does not reach the hyperplane, returns the delta of the input range that comes nearest to it.
    A coordinate in which the normal is zero never moves. It is the projection that Croce & Hein 2020, arXiv 1907.02044,
    need.

    Args:
        normal: Shape (N, ...).
        gap: Shape (N,).
        lower: Lowest allowed delta, <= 0, shaped like `normal`; may be -inf.
        upper: Highest allowed delta, >= 0, shaped like `normal`; may be inf.
        norm: Which length to make least.
    """
    tiny = torch.finfo(lower.dtype).tiny
    normal, gap = normal.to(lower.dtype), gap.double()
    peak = normal.flatten(1).abs().amax(dim=1).clamp(min=tiny)
    direction = -normal.sign() * per_row(gap.sign().to(lower.dtype), normal)
    room = torch.where(direction < 0, -lower, upper)
    room = torch.where(direction == 0, 0.0, room).flatten(1)
    # Only moving toward the hyperplane helps, so what is left is: lengths in 0..room with <weight, lengths> = need.
    weight = normal.flatten(1).abs() / peak.unsqueeze(1)
    need = (gap.abs() / peak).to(lower.dtype).unsqueeze(1)
    if norm == "L1":
        lengths = _greedy(weight, room, need)
    else:
        lengths = _level(weight, weight if norm == "L2" else weight.sign(), room, need)
    return direction * lengths.view_as(direction)


def _level(weight: Tensor, rate: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """Returns min(tau * rate, room) for the tau with <weight, lengths> = need, which the optimality conditions demand.

    <weight, min(tau * rate, room)> rises with tau along straight pieces that become flatter. So Newton's method from
    the left never passes the solution, and ends on its piece after a few steps, where sorting would need all of them.
    """
    weighted_rate = weight * rate
    tau = torch.zeros_like(need)
    while True:
        unlimited = tau * rate
        slope = _dot(weighted_rate, (unlimited < room).to(weight.dtype))
        missing = need - _dot(weight, torch.minimum(unlimited, room))
        further = torch.where((slope > 0) & (missing > 0), tau + missing / slope, tau)
        if not bool((further > tau).any()):
            break
        tau = further
    # What is missing where nothing can move any more, the input range does not hold.
    return torch.where((slope <= 0) & (missing > 0), room, torch.minimum(tau * rate, room))


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Returns the inner product of every row, shape (N, 1)."""
    product: Tensor = torch.linalg.vecdot(one, other)
    return product.unsqueeze(1)


def _greedy(weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """Returns lengths that use up the room of one coordinate after the other, those of largest weight first."""
    falling, order = weight.sort(dim=1, descending=True, stable=True)
    room = room.gather(1, order)
    before = pad((falling * room).cumsum(dim=1)[:, :-1], (1, 0))
    lengths = torch.minimum((need - before).clamp(min=0) / falling.clamp(min=torch.finfo(falling.dtype).tiny), room)
    return torch.zeros_like(weight).scatter(1, order, lengths)
