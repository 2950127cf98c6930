"""Fast Minimum-Norm: it follows the gradient inside a ball that shrinks after a success and grows after a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustkit import hyperplane
from robustkit.attack import Attack
from robustkit.errors import ConfigurationError
from robustkit.losses import get_loss
from robustkit.nearest import cooled, farthest, moved, nearby, reaches_goal, width
from robustkit.norms import per_row, project_l1, project_l2, size, steepest
from robustkit.rows import Problem, Rows


@dataclass(frozen=True, kw_only=True)
class FMN(Attack):
    """A minimal-norm attack: a gradient step on the margin, then a projection onto a ball of adaptive radius.

    Pintor et al. 2021, arXiv 2102.12827, algorithm 1. Until the first success the radius reaches to the linearised
    boundary; then it falls by a share gamma after a success and rises by it after a failure. Step size and gamma
    fall as half a cosine.

    Differences: the L1 projection is onto ball and box together. Starts after the first, which the paper lacks, are
    random. The step is a multiple of the input range.

    Attributes:
        steps: Gradient steps per start, >= 1.
        step_size: L2 length of the first step in widths of the box, > 0; the last is a hundredth of it.
        gamma: First share by which the radius changes, in (0, 1).
        gamma_last: Last such share, in (0, gamma].
    """

    steps: int = 100
    step_size: float = 1.0
    loss: str = "ce"
    gamma: float = 0.05
    gamma_last: float = 0.001

    name: ClassVar[str] = "fmn"
    source: ClassVar[str] = "Pintor et al. 2021, arXiv 2102.12827"
    minimal: ClassVar[bool] = True
    leaves_ball: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.count("steps")
        for setting, fine, wanted in (
            ("step_size", 0 < self.step_size < float("inf"), "> 0"),
            ("gamma", 0 < self.gamma < 1, "in (0, 1)"),
            ("gamma_last", 0 < self.gamma_last <= self.gamma, "in (0, gamma]"),
        ):
            if not fine:
                raise ConfigurationError(f"fmn: expected {setting} {wanted}, got {getattr(self, setting)}; correct it")

    @property
    def steps_per_start(self) -> int:
        """Gradient steps."""
        return self.steps

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes the clean input, for later starts a random point."""
        first = per_row(rows.restart == 0, rows.x)
        x_adv = torch.where(first, rows.x, nearby(problem, rows))
        return rows.having(
            x_adv=x_adv, ball=problem.threat.distance(x_adv, rows.x), nearest=torch.full_like(rows.distance, torch.inf)
        )

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Evaluates the gradient, resizes the ball, and moves inside it."""
        found = problem.gradient(rows, rows.x_adv, get_loss(self.loss, problem.targeted))
        gap, _ = get_loss("margin")(found.logits.double(), rows.goal)
        hit = reaches_goal(problem, rows, found.logits)
        delta = rows.x_adv.double() - rows.x.double()
        length = size(delta, self.norm)
        nearest = torch.where(hit, torch.minimum(length, rows.nearest), rows.nearest)

        gamma = cooled(rows.step, self.steps, self.gamma, self.gamma_last)
        to_boundary = length + hyperplane.distance(found.grad, gap, self.norm)
        larger = torch.maximum(rows.ball * (1 + gamma), torch.where(nearest.isinf(), to_boundary, 0.0))
        ball = torch.where(hit, torch.minimum(rows.ball * (1 - gamma), nearest), larger)
        ball = torch.minimum(ball, farthest(problem, rows))

        step_size = width(problem) * cooled(rows.step, self.steps, self.step_size, self.step_size / 100)
        delta = delta + per_row(step_size, delta) * steepest(found.grad.double(), "L2")
        delta = self._into(problem, rows, delta, per_row(ball, delta))
        return rows.having(logits=found.logits, x_adv=moved(problem, rows, delta), ball=ball, nearest=nearest)

    def _into(self, problem: Problem, rows: Rows, delta: Tensor, ball: Tensor) -> Tensor:
        """Returns `delta` projected onto the ball of its row, for L1 within the box."""
        ball = ball.clamp(min=torch.finfo(torch.float64).tiny)
        unit = delta / ball
        if self.norm == "Linf":
            return ball * unit.clamp(-1, 1)
        if self.norm == "L2":
            return ball * project_l2(unit, 1.0)
        low, high = problem.classifier.bounds
        x = rows.x.double()
        return ball * project_l1(unit, 1.0, (low - x) / ball, (high - x) / ball)
