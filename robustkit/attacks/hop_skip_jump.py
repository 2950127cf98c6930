"""HopSkipJump: it walks along the decision boundary and asks the model for nothing but its label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustkit.attacks.base import Attack
from robustkit.attacks.minimum_norm import farthest, moved, reaches_goal
from robustkit.attacks.rows import Problem, Rows
from robustkit.base.settings import integer
from robustkit.maths.norms import Norm, per_row, size, steepest, where_rows

NOISE = 6  # uniform images to begin from, beside flat ones and the negative
ROUGH, BISECTIONS = 4, 14  # of the way from the clean input to a point beyond the boundary; rough ones only compare
HALVINGS = 8  # of a step that leads back across the boundary
FIRST = 0.1  # radius of the first look around, in widths of the input range
NEAR = 0.3  # of later ones, in distances from the clean input over the root of the number of coordinates


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(Attack):
    """A minimal-norm attack that needs labels alone, so that no false or missing gradient misleads it.

    Chen, Jordan & Wainwright 2020, arXiv 1904.02144, algorithm 2. From a point on the boundary it looks in random
    directions, takes the mean of those that lead across, with the others reversed and their mean subtracted, for the
    normal of the boundary, steps along it, and goes back towards the clean input until it meets the boundary.

    Differences: every step looks in as many directions, so that rows at different steps cost the same; it begins from
    the nearest boundary in the direction of the negative, of three flat images and of uniform noise; a step is halved
    at most 8 times, and a bisection takes 14 looks; it looks around within 0.3 / sqrt(d) of the distance, where the
    authors' code takes 1 / d (docs/log.md). L1, which the paper leaves out, walks as L2 does and is measured in L1.

    Attributes:
        steps: Steps along the boundary per start, >= 1.
        looks: Directions that every step looks in, >= 2.
    """

    steps: int = 20
    looks: int = 120

    name: ClassVar[str] = "hop-skip-jump"
    kind: ClassVar[str] = "black-box"
    source: ClassVar[str] = "Chen et al. 2020, arXiv 1904.02144"
    per_coordinate: ClassVar[bool] = True
    minimal: ClassVar[bool] = True
    leaves_ball: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "steps", self.steps)
        integer(self.name, "looks", self.looks, 2)

    @property
    def geometry(self) -> Norm:
        """The norm in which it walks."""
        return "Linf" if self.norm == "Linf" else "L2"

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes the nearest boundary in a few directions; the clean input where none of them leads across."""
        low, high = self._ends(problem, rows)
        shape = tuple(rows.x.shape[1:])
        x_adv, nearest = rows.x, torch.full_like(rows.distance, torch.inf)
        ends = [low + high - rows.x, low, high, (low + high) / 2]
        for number in range(len(ends) + NOISE):
            if number < len(ends):
                end = ends[number]
            else:
                uniform = problem.stream.uniform(shape, rows.ids, rows.restart, rows.step, draw=number)
                end = low.lerp(high, uniform.to(low.dtype))
            across = self._across(problem, rows, end)
            point = self._bisected(problem, rows, end, "L2", ROUGH)
            distance = torch.where(across, self._length(rows, point), torch.inf)
            x_adv = where_rows(distance < nearest, point, x_adv)
            nearest = torch.minimum(distance, nearest)
        x_adv = self._bisected(problem, rows, x_adv, "L2")
        reach = torch.where(nearest.isinf(), farthest(problem, rows), self._length(rows, x_adv))
        return rows.having(x_adv=x_adv, reach=reach)

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Estimates the normal of the boundary, steps along it, and goes back to the boundary."""
        logits, reach = problem.logits(rows, rows.x_adv), rows["reach"]
        normal = self._normal(problem, rows, reach)
        length = reach / (rows.step.double() + 1).sqrt()
        beyond, found = rows.x_adv, torch.zeros_like(rows.broken)
        for _ in range(HALVINGS):
            point = moved(problem, rows, rows.x_adv.double() - rows.x.double() + per_row(length, normal) * normal)
            across = ~found & self._across(problem, rows, point)
            beyond, found = where_rows(across, point, beyond), found | across
            length = length / 2
        point = self._bisected(problem, rows, beyond, self.geometry)
        distance = self._length(rows, point)
        nearer = found & (distance < rows["reach"])
        return rows.having(
            logits=logits,
            x_adv=where_rows(nearer, point, rows.x_adv),
            reach=torch.where(nearer, distance, rows["reach"]),
        )

    def _ends(self, problem: Problem, rows: Rows) -> tuple[Tensor, Tensor]:
        """Returns the least and largest `x_adv` to begin from; without a range, a little outside the clean input."""
        x = problem.inputs(rows)
        low, high = (torch.as_tensor(end, dtype=x.dtype, device=x.device).expand_as(x) for end in problem.whole.room(x))
        flat, known = x.flatten(1), low.isfinite() & high.isfinite()
        low = torch.where(known, low, per_row(flat.amin(1) - 1, x))
        high = torch.where(known, high, per_row(flat.amax(1) + 1, x))
        return problem.x_adv_of(rows, low), problem.x_adv_of(rows, high)

    def _length(self, rows: Rows, x: Tensor) -> Tensor:
        return size(x.double() - rows.x.double(), self.geometry)

    def _across(self, problem: Problem, rows: Rows, x: Tensor) -> Tensor:
        return reaches_goal(problem, rows, problem.logits(rows, x))

    def _normal(self, problem: Problem, rows: Rows, reach: Tensor) -> Tensor:
        """Returns the estimated normal of the boundary at `x_adv`, of length 1 in the norm of the walk."""
        shape, count = tuple(rows.x.shape[1:]), rows.x[0].numel()
        radius = torch.where(rows.step == 0, FIRST * problem.width(rows), NEAR * reach / math.sqrt(count))
        mean = torch.zeros_like(rows.x, dtype=torch.float64)
        signed, balance = mean.clone(), torch.zeros_like(reach)
        for number in range(self.looks):
            direction = problem.stream.normal(shape, rows.ids, rows.restart, rows.step, draw=number)
            direction = direction / per_row(size(direction, self.geometry), direction)
            point = moved(problem, rows, rows.x_adv.double() - rows.x.double() + per_row(radius, direction) * direction)
            taken = (point.double() - rows.x_adv.double()) / per_row(radius, direction)  # clipped to the input range
            answer = torch.where(self._across(problem, rows, point), 1.0, -1.0).double()
            signed, mean, balance = signed + per_row(answer, taken) * taken, mean + taken, balance + answer
        share = balance / self.looks
        one_sided = share.abs() == 1
        normal = where_rows(one_sided, per_row(share, mean) * mean, signed - per_row(share, mean) * mean)
        return steepest(normal, self.geometry)

    def _bisected(self, problem: Problem, rows: Rows, beyond: Tensor, along: Norm, times: int = BISECTIONS) -> Tensor:
        """Returns, between the clean input and a point `beyond` the boundary, a point just beyond it."""
        delta = beyond.double() - rows.x.double()
        farthest = size(delta, along)
        low, high = torch.zeros_like(farthest), torch.ones_like(farthest)
        for _ in range(times):
            middle = (low + high) / 2
            across = self._across(problem, rows, moved(problem, rows, _part(delta, middle, farthest, along)))
            low, high = torch.where(across, low, middle), torch.where(across, middle, high)
        return moved(problem, rows, _part(delta, high, farthest, along))


def _part(delta: Tensor, share: Tensor, whole: Tensor, along: Norm) -> Tensor:
    """Returns `delta` shortened to a `share` (N,) of its length: scaled, or clipped where lengths are Linf."""
    if along == "L2":
        return per_row(share, delta) * delta
    most = per_row(share * whole, delta)
    return torch.minimum(torch.maximum(delta, -most), most)
