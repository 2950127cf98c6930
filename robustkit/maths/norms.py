"""The geometry of the three norms: size, projection, steepest step and uniform points of the ball.

Every function works on rows: the first axis counts samples, all others belong to one sample.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Norm = Literal["Linf", "L2", "L1"]
NORMS: tuple[Norm, ...] = ("Linf", "L2", "L1")
_ORDER = {"Linf": float("inf"), "L2": 2.0, "L1": 1.0}


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """Returns `values` of shape (N,) shaped (N, 1, ..., 1) to broadcast against the rows of `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def where_rows(chosen: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Returns the rows of `a` where `chosen` (N,), else those of `b`; on a CPU without a copy where all agree."""
    if chosen.device.type == "cpu":  # a GPU would have to be waited for
        count = int(chosen.count_nonzero())
        if count in (0, len(chosen)):
            return a if count else b
    return torch.where(per_row(chosen, a), a, b)


def size(delta: Tensor, norm: Norm) -> Tensor:
    """Returns the norm of every row of `delta` in float64, shape (N,)."""
    sizes: Tensor = torch.linalg.vector_norm(delta.double().flatten(1), ord=_ORDER[norm], dim=1)
    return sizes


def shift(x: Tensor, delta: Tensor | float) -> Tensor:
    """Returns x + `delta` (float64) in the dtype of `x`, rounded so that no coordinate moves further than `delta` says.

    Rounding to the nearest float32 leaves the ball on one pixel in seven; rounding toward `x` never does.
    """
    centre, delta = x.double(), torch.as_tensor(delta, dtype=torch.float64, device=x.device)
    rounded = (centre + delta).to(x.dtype)
    # The test is the very one that verification makes.
    further = (rounded.double() - centre).abs() > delta.abs()
    return torch.where(further, torch.nextafter(rounded, x), rounded)


def cube(x: Tensor, eps: float, bounds: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Returns the lowest and highest points, representable in the dtype of `x`, of the Linf ball and the box."""
    low, high = bounds
    return shift(x, -eps).clamp(min=low), shift(x, eps).clamp(max=high)


def project_l2(delta: Tensor, eps: float) -> Tensor:
    """Returns the float64 rows of `delta` scaled into the L2 ball of radius `eps`."""
    # The factor 1 - 1e-12 keeps the float64 sum of squares, added up in any order, at or below eps.
    factor = eps * (1 - 1e-12) / size(delta, "L2").clamp(min=torch.finfo(torch.float64).tiny)
    return delta * per_row(factor.clamp(max=1.0), delta)


def project_l1(delta: Tensor, eps: float, lower: Tensor, upper: Tensor) -> Tensor:
    """Returns the points nearest to the float64 rows of `delta` with L1 norm <= eps and lower <= delta <= upper.

    The solution is sign(delta) * clamp(|delta| - t, 0, room) for the smallest t >= 0 that meets the norm
    (Croce & Hein 2021, arXiv 2103.01208, Proposition 2.1); t is found exactly by sorting the break points.

    Args:
        delta: Shape (N, ...), float64.
        eps: Radius.
        lower: Lowest allowed delta, <= 0, shaped like `delta`.
        upper: Highest allowed delta, >= 0, shaped like `delta`.
    """
    magnitude = delta.abs().flatten(1)
    room = torch.where(delta < 0, -lower, upper).flatten(1)
    # Going down from t = infinity, coordinate i starts to grow at |delta_i| and stops at |delta_i| - room_i.
    points = torch.cat([magnitude, (magnitude - room).clamp(min=0)], dim=1)
    slopes = torch.cat([torch.ones_like(magnitude), -torch.ones_like(magnitude)], dim=1)
    points, order = points.sort(dim=1, descending=True)
    slope = slopes.gather(1, order).cumsum(dim=1)
    gaps = torch.nn.functional.pad(points[:, :-1] - points[:, 1:], (1, 0))
    reached = (gaps * torch.nn.functional.pad(slope[:, :-1], (1, 0))).cumsum(dim=1)
    budget = eps * (1 - 1e-12)
    last = ((reached <= budget).sum(dim=1, keepdim=True) - 1).clamp(min=0)
    left = (budget - reached.gather(1, last)) / slope.gather(1, last).clamp(min=1)
    t = (points.gather(1, last) - left).clamp(min=0)
    found = torch.minimum((magnitude - t).clamp(min=0), room)
    # The sums above lose a few bits with many coordinates; scaling down never leaves the box.
    found = found * (budget / size(found, "L1").clamp(min=max(budget, torch.finfo(torch.float64).tiny))).unsqueeze(1)
    return (torch.sign(delta).flatten(1) * found).view_as(delta)


def steepest(grad: Tensor, norm: Norm, movable: Tensor | None = None, share: float = 1.0) -> Tensor:
    """Returns the unit step of largest first-order gain; rows without a gradient stay where they are.

    Linf: the sign. L2: the normalised gradient. L1: the gradient restricted to the `share` of coordinates where
    it is largest, normalised (Tramer & Boneh 2019, arXiv 1904.13000, section 4, keep the top percentile and
    ignore coordinates that the box blocks; they step by signs, we by magnitudes, so that the projection can
    settle on a vertex of the ball).

    Args:
        grad: Shape (N, ...).
        norm: The norm of the step.
        movable: For L1: where the box leaves room to move, shaped like `grad`.
        share: For L1: share of the coordinates to use, in (0, 1].
    """
    if norm == "Linf":
        return grad.sign()
    if norm == "L1":
        flat = (grad if movable is None else grad * movable).flatten(1)
        count = max(1, round(share * flat.shape[1]))
        top = flat.abs().topk(count, dim=1).indices
        grad = torch.zeros_like(flat).scatter(1, top, flat.gather(1, top)).view_as(grad)
    # Scaling by the largest entry first keeps the sum of squares of tiny gradients from underflowing.
    peak = grad.flatten(1).abs().amax(dim=1)
    grad = grad / per_row(peak.clamp(min=torch.finfo(grad.dtype).tiny), grad)
    length = torch.linalg.vector_norm(grad.flatten(1), ord=_ORDER[norm], dim=1)
    return grad / per_row(length.clamp(min=1e-12), grad)


def has_room(x: Tensor, grad: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Returns where `x` may still move along `grad` before it meets the box; rounding noise is no room."""
    room = torch.where(grad > 0, upper - x, x - lower)
    return room > 1e-6 * (upper - lower).nan_to_num(posinf=1.0)


def in_ball(uniform: Tensor, normal: Tensor, norm: Norm) -> Tensor:
    """Returns one point a row, uniform in the unit ball, from independent uniform and normal numbers.

    Args:
        uniform: Uniform in (0, 1), shape (N, ...); for L2 only its first entry of each row is used.
        normal: Standard normal, shape (N, ...); used for L2 and, by its signs, for L1.
        norm: Which ball.
    """
    if norm == "Linf":
        return 2 * uniform - 1
    dimension = uniform[0].numel()
    first = uniform.flatten(1)[:, 0]
    if norm == "L2":
        return normal * per_row(first.pow(1 / dimension) / size(normal, "L2"), normal)
    # d normalised exponentials are uniform on the simplex; U**(1/d) is the radius of a uniform point of the ball.
    exponentials = -uniform.log()
    radius = torch.special.ndtr(normal.flatten(1)[:, 0].abs()).mul(2).sub(1).pow(1 / dimension)
    return exponentials * normal.sign() * per_row(radius / size(exponentials, "L1"), normal)
