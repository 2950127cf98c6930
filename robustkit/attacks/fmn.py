"""Fast Minimum-Norm: it follows the gradient inside a ball that shrinks after a success and grows after a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustkit.attacks.base import Attack
from robustkit.attacks.minimum_norm import begin, cooled, farthest, moved, reaches_goal, to_boundary
from robustkit.attacks.rows import Problem, Rows
from robustkit.base.settings import between, integer
from robustkit.maths.losses import Loss, get_loss
from robustkit.maths.norms import per_row, steepest
from robustkit.maths.projection import project_l1, project_l2


@dataclass(frozen=True, kw_only=True)
class FMN(Attack):
    """A minimal-norm attack: a gradient step, then a projection onto a ball of adaptive radius.

    Pintor et al. 2021, arXiv 2102.12827, algorithm 1. Until the first success the radius reaches to the linearised
    boundary; then it falls by a share gamma after a success and rises by it after a failure. Step size and gamma
    fall as half a cosine.

    Differences: the direction comes from the cross entropy by default, in the paper from the margin; for Linf it is
    the sign of the gradient; the radius always grows after a failure, since the input range can keep a point from
    coming nearer to the boundary; the step is a multiple of the width of the input range; starts after the first are
    random.

    Attributes:
        steps: Gradient steps per start, >= 1.
        step_size: L2 length of the first step in widths of the input range, > 0; the last is a hundredth of it.
        gamma: First share by which the radius changes, between 0 and 1.
        gamma_last: Last such share, between 0 and 1.
        loss: "ce", "margin" or "dlr", or a function as in `robustkit.maths.losses`.
    """

    steps: int = 100
    step_size: float = 1.0
    gamma: float = 0.05
    gamma_last: float = 0.001
    loss: str | Loss = "ce"

    name: ClassVar[str] = "fmn"
    source: ClassVar[str] = "Pintor et al. 2021, arXiv 2102.12827"
    per_coordinate: ClassVar[bool] = True
    minimal: ClassVar[bool] = True
    leaves_ball: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "steps", self.steps)
        between(self.name, "step_size", self.step_size, "(0, inf)")
        between(self.name, "gamma", self.gamma, "(0, 1)")
        between(self.name, "gamma_last", self.gamma_last, "(0, 1)")
        self.accept_loss()

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes the clean input, for later starts a random point."""
        x_adv = begin(problem, rows, clean=rows.restart == 0)
        never = torch.full_like(rows.distance, torch.inf)
        return rows.having(x_adv=x_adv, radius=problem.threat.distance(x_adv, rows.x), nearest=never)

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Evaluates the gradient, resizes the ball, and moves inside it."""
        found = problem.gradient(rows, rows.x_adv, get_loss(self.loss, problem.targeted))
        hit = reaches_goal(problem, rows, found.logits)
        length = problem.threat.distance(rows.x_adv, rows.x)
        nearest = torch.where(hit, torch.minimum(length, rows["nearest"]), rows["nearest"])

        gamma = cooled(rows.step, self.steps, self.gamma, self.gamma_last)
        larger = (1 + gamma) * rows["radius"]
        larger = torch.where(nearest.isinf(), torch.maximum(larger, to_boundary(problem, rows, found)), larger)
        radius = torch.where(hit, torch.minimum((1 - gamma) * rows["radius"], nearest), larger)
        radius = torch.minimum(radius, farthest(problem, rows))

        step_size = problem.width(rows) * cooled(rows.step, self.steps, self.step_size, self.step_size / 100)
        grad = found.grad.sign() if self.norm == "Linf" else found.grad
        delta = rows.x_adv.double() - rows.x.double()
        delta = delta + per_row(step_size, delta) * steepest(grad.double(), "L2")
        x_adv = moved(problem, rows, self._into_ball(delta, radius))
        return rows.having(logits=found.logits, x_adv=x_adv, radius=radius, nearest=nearest)

    def _into_ball(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Returns `delta` projected onto the ball of its row."""
        scale = per_row(radius.clamp(min=torch.finfo(radius.dtype).tiny), delta)
        unit = delta / scale
        if self.norm == "Linf":
            return scale * unit.clamp(-1, 1)
        if self.norm == "L2":
            return scale * project_l2(unit, 1.0)
        anywhere = torch.full_like(unit, torch.inf)
        return scale * project_l1(unit, 1.0, -anywhere, anywhere)
