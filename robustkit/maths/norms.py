"""The geometry of the norms: size, steepest step and uniform points of the ball; L0 counts and has no ball.

Every function works on rows: the first axis counts samples, all others belong to one sample.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from robustkit.maths.windows import side_of

Norm = Literal["Linf", "L2", "L1", "L0", "L0-pixels", "patch"]
NORMS: tuple[Norm, ...] = ("Linf", "L2", "L1")
SPARSE: tuple[Norm, ...] = ("L0", "L0-pixels")  # how many values, or pixels of all their channels, are changed
COUNTED: tuple[Norm, ...] = (*SPARSE, "patch")  # and the side of the smallest square around all changed pixels
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
    if norm == "patch":
        return side_of(delta != 0).double()
    if norm in SPARSE:
        return by_place(delta != 0, norm).any(1).sum(1).double()
    sizes: Tensor = torch.linalg.vector_norm(delta.double().flatten(1), ord=_ORDER[norm], dim=1)
    return sizes


def by_place(values: Tensor, norm: Norm) -> Tensor:
    """Returns `values` (N, ...) as (N, C, places), a place being one value in L0, else a pixel with all its channels.

    Channels are the second axis of inputs with more than two.
    """
    channels = values.shape[1] if norm != "L0" and values.ndim > 2 else 1
    return values.reshape(len(values), channels, -1)


def steepest(grad: Tensor, norm: Norm, movable: Tensor | None = None, share: float = 1.0) -> Tensor:
    """Returns the unit step of largest first-order gain; rows without a gradient stay where they are.

    Linf: the sign. L2: the normalised gradient. L1: the gradient restricted to the `share` of coordinates where
    it is largest, normalised (Tramer & Boneh 2019, arXiv 1904.13000, section 4, keep the top percentile and
    ignore coordinates that the input range blocks; they step by signs, we by magnitudes, so that the projection can
    settle on a vertex of the ball).

    Args:
        grad: Shape (N, ...).
        norm: The norm of the step.
        movable: For L1: where the input range leaves room to move, shaped like `grad`.
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
    """Returns where `x` may still move along `grad` before it meets the input range; rounding noise is no room."""
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
