"""What attacks that look for the nearest adversarial point share: where they begin, who succeeded, how they cool."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustkit.norms import in_ball, per_row, size
from robustkit.rows import Problem, Rows

_FAR = 1e6  # stands for the far side of a box without sides


def reaches_goal(problem: Problem, rows: Rows, logits: Tensor) -> Tensor:
    """Returns whether each row's `logits` (N, K) are adversarial, whether or not they lie within eps, shape (N,)."""
    return (logits.argmax(dim=1) == rows.goal) == problem.targeted


def farthest(problem: Problem, rows: Rows) -> Tensor:
    """Returns the distance from each clean input to the farthest corner of the box, at most 1e6, shape (N,)."""
    low, high = problem.classifier.bounds
    return size(torch.maximum(rows.x - low, high - rows.x), problem.threat.norm).clamp(max=_FAR)


def width(problem: Problem) -> float:
    """Returns how wide the box is, or 1 where it has no end: the unit of step sizes."""
    low, high = problem.classifier.bounds
    return high - low if math.isfinite(high - low) else 1.0


def nearby(problem: Problem, rows: Rows) -> Tensor:
    """Returns a random point of the box for every row, uniform in a ball around the clean input.

    The ball is half as large as the least of eps, the nearest success so far and the whole box (Croce & Hein 2020,
    arXiv 1907.02044, section 3.4, with the first two).
    """
    norm, shape = problem.threat.norm, tuple(rows.x.shape[1:])
    uniform = problem.stream.uniform(shape, rows.ids, rows.restart, rows.step)
    normal = problem.stream.normal(shape, rows.ids, rows.restart, rows.step, draw=1)
    reach = torch.minimum(rows.distance, farthest(problem, rows)).clamp(max=problem.threat.radius) / 2
    return moved(problem, rows, per_row(reach, rows.x) * in_ball(uniform, normal, norm))


def moved(problem: Problem, rows: Rows, delta: Tensor) -> Tensor:
    """Returns the clean inputs moved by the float64 `delta`, then clipped to the box."""
    return (rows.x.double() + delta).to(rows.x.dtype).clamp(*problem.classifier.bounds)


def cooled(step: Tensor, steps: int, first: float, last: float) -> Tensor:
    """Returns in float64, for each of `step` (N,), a value that falls from `first` to `last` as half a cosine."""
    return last + (first - last) * (1 + (step.double() * (math.pi / steps)).cos()) / 2
