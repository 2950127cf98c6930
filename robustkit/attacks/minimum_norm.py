"""What minimum-norm attacks share: where they begin, how far they go, how their steps shrink."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustkit.attacks.rows import Problem, Rows
from robustkit.maths import hyperplane
from robustkit.maths.losses import lead
from robustkit.maths.norms import in_ball, per_row, size, where_rows
from robustkit.model.gradient import Gradient

_FAR = 1e6  # stands for the far side of an input range without sides


def reaches_goal(problem: Problem, rows: Rows, logits: Tensor) -> Tensor:
    """Returns whether the `logits` (N, K) of each row are adversarial, within eps or beyond it, shape (N,)."""
    return (logits.argmax(dim=1) == rows.goal) == problem.targeted


def farthest(problem: Problem, rows: Rows) -> Tensor:
    """Returns the distance from each clean input to the farthest corner of the input range, at most 1e6, shape (N,)."""
    low, high = problem.box(rows)
    return size(torch.maximum(rows.x - low, high - rows.x), problem.threat.norm).clamp(max=_FAR)


def begin(problem: Problem, rows: Rows, clean: Tensor) -> Tensor:
    """Returns the clean input for the rows marked `clean` (N,), else a random point, uniform in a ball around it.

    The ball is half as large as the least of eps, the nearest success so far and the whole input range (Croce & Hein
    2020, arXiv 1907.02044, section 4, with the first two).
    """
    shape = tuple(rows.x.shape[1:])
    uniform = problem.stream.uniform(shape, rows.ids, rows.restart, rows.step)
    normal = problem.stream.normal(shape, rows.ids, rows.restart, rows.step, draw=1)
    reach = torch.minimum(rows.distance, farthest(problem, rows)).clamp(max=problem.threat.radius) / 2
    delta = per_row(reach, rows.x) * in_ball(uniform, normal, problem.threat.norm)
    return where_rows(clean, rows.x, moved(problem, rows, delta))


def moved(problem: Problem, rows: Rows, delta: Tensor) -> Tensor:
    """Returns the clean inputs moved by the float64 `delta`, then clipped to the input range."""
    return (rows.x.double() + delta).to(rows.x.dtype).clamp(*problem.box(rows))


def to_boundary(problem: Problem, rows: Rows, found: Gradient) -> Tensor:
    """Returns how far `x_adv` is from the clean input plus how far the linearised boundary is from it, shape (N,).

    The second is at least a millionth of the width of the input range, so that a row on the boundary leaves it.
    """
    gap = lead(found.logits.double(), rows.goal)
    left = hyperplane.distance(found.grad, gap, problem.threat.norm)
    return problem.threat.distance(rows.x_adv, rows.x) + left.clamp(min=1e-6 * problem.width(rows))


def cooled(step: Tensor, steps: int, first: float, last: float) -> Tensor:
    """Returns in float64, for each of `step` (N,), a value that falls from `first` to `last` as half a cosine."""
    return last + (first - last) * (1 + (step.double() * (math.pi / steps)).cos()) / 2
