"""Projection onto the ball of a norm, and rounding that never leaves it.

Every function works on rows: the first axis counts samples, all others belong to one sample.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.maths.norms import Norm, by_place, per_row, size
from robustkit.maths.windows import as_pictures, window_mask, window_sums

FAR = 1e6  # radii along a gradient; the nearest point of a ball is then the best one


def shift(x: Tensor, delta: Tensor | float) -> Tensor:
    """Returns x + `delta` (float64) in the dtype of `x`, rounded so that no coordinate moves further than `delta` says.

    Rounding to the nearest float32 leaves the ball on one pixel in seven; rounding toward `x` never does.
    """
    centre, delta = x.double(), torch.as_tensor(delta, dtype=torch.float64, device=x.device)
    rounded = (centre + delta).to(x.dtype)
    # The test is the very one that verification makes.
    further = (rounded.double() - centre).abs() > delta.abs()
    return torch.where(further, torch.nextafter(rounded, x), rounded)


def cube(x: Tensor, eps: Tensor | float, bounds: tuple[Tensor | float, Tensor | float]) -> tuple[Tensor, Tensor]:
    """Returns lowest and highest points, representable in the dtype of `x`, of Linf ball and input range.

    Radius and ends may be tensors that broadcast against `x`, one value a coordinate.
    """
    low, high = bounds
    return shift(x, -eps).clamp(min=low), shift(x, eps).clamp(max=high)


def project_l2(delta: Tensor, eps: float) -> Tensor:
    """Returns the float64 rows of `delta` scaled into the L2 ball of radius `eps`."""
    # The factor 1 - 1e-12 keeps the float64 sum of squares, added up in any order, at or below eps.
    return delta * per_row(_shrink(size(delta, "L2"), eps * (1 - 1e-12)), delta)


def _shrink(size: Tensor, most: float) -> Tensor:
    """Returns the factors that bring sizes to `most`, 1 for those at or below it."""
    return torch.where(size <= most, 1.0, most / size.clamp(min=torch.finfo(torch.float64).tiny))


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
    # The sums above lose a few bits with many coordinates; scaling down never leaves the input range.
    found = found * _shrink(size(found, "L1"), budget).unsqueeze(1)
    return (torch.sign(delta).flatten(1) * found).view_as(delta)


def project_l0(point: Tensor, x: Tensor, lower: Tensor, upper: Tensor, count: int, norm: Norm) -> Tensor:
    """Returns what is nearest to the rows of `point` in L2 with at most `count` places of `x` changed, or one patch.

    A changed place goes to the nearest value in lower..upper, so that those places stay where that brings the point
    nearer than `x` by most: `count` of them, or for "patch" those of one square with sides of `count`. What `norm`
    counts as a place is said in `robustkit.maths.norms.by_place`.
    """
    inside = point.clamp(lower, upper)
    moved = inside.double() - x.double()
    gain = by_place(moved * (2 * (point.double() - x.double()) - moved), norm).sum(1)
    kept = torch.zeros_like(gain, dtype=torch.bool)
    if norm == "patch" and count:
        picture = gain.view(len(x), *as_pictures(x).shape[2:])
        place = window_sums(picture, count).flatten(1).argmax(1)
        kept = window_mask(place, picture.shape, count).flatten(1)
    elif norm != "patch":
        kept = kept.scatter(1, gain.topk(min(count, gain.shape[1]), dim=1).indices, True)
    return torch.where(kept.unsqueeze(1).expand_as(by_place(x, norm)).reshape(x.shape), inside, x)


def project_l2_in_box(delta: Tensor, eps: float, lower: Tensor, upper: Tensor) -> Tensor:
    """Returns the points nearest to the float64 rows of `delta` with L2 norm <= eps and lower <= delta <= upper.

    The solution is clamp(s * delta, lower, upper) for the largest s <= 1 that meets the norm, which the optimality
    conditions demand; s is found exactly by sorting the scales at which coordinates meet their end. Arguments as for
    `project_l1`.
    """
    magnitude = delta.abs().flatten(1)
    room = torch.minimum(torch.where(delta < 0, -lower, upper).flatten(1), magnitude)
    scale, order = (room / magnitude.clamp(min=torch.finfo(torch.float64).tiny)).sort(dim=1)
    square, ended = magnitude.gather(1, order).square(), room.gather(1, order).square()
    moving = square.flip(1).cumsum(1).flip(1)  # of those that have not met their end
    stopped = torch.nn.functional.pad(ended.cumsum(1)[:, :-1], (1, 0))
    budget = (eps * (1 - 1e-12)) ** 2
    first = (stopped + scale.square() * moving <= budget).sum(1, keepdim=True).clamp(max=scale.shape[1] - 1)
    left = (budget - stopped.gather(1, first)).clamp(min=0)
    longest = (left / moving.gather(1, first).clamp(min=torch.finfo(torch.float64).tiny)).sqrt().clamp(max=1.0)
    found = torch.minimum(longest * magnitude, room).view_as(delta) * delta.sign()
    return project_l2(found, eps)


def best_in_box(grad: Tensor, norm: Norm, eps: float, lower: Tensor, upper: Tensor) -> Tensor:
    """Returns the L2 or L1 changes of largest inner product with the float64 rows of `grad` in ball and box.

    That is the point nearest to one far along the gradient. Arguments as for `project_l1`.
    """
    peak = grad.flatten(1).abs().amax(dim=1).clamp(min=torch.finfo(torch.float64).tiny)
    far = grad / per_row(peak, grad) * (FAR * eps)
    return project_l2_in_box(far, eps, lower, upper) if norm == "L2" else project_l1(far, eps, lower, upper)
