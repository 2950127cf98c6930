"""Decoupled Direction and Norm: it turns along the gradient on a sphere whose radius it adapts separately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from robustkit.attacks.base import Attack
from robustkit.attacks.minimum_norm import begin, cooled, farthest, moved, reaches_goal, to_boundary
from robustkit.attacks.rows import Problem, Rows
from robustkit.base.settings import between, integer
from robustkit.maths.losses import Loss, get_loss
from robustkit.maths.norms import Norm, per_row, steepest


@dataclass(frozen=True, kw_only=True)
class DDN(Attack):
    """A minimal-norm attack for L2: the gradient sets the direction, success and failure alone set the length.

    Rony et al. 2019, arXiv 1811.09600, algorithm 1. Differences: the first radius reaches to the linearised boundary
    instead of 1, from where 100 steps cannot come below 0.006; no radius exceeds the input range; the step is a
    multiple of its width; starts after the first, which the paper lacks, are random.

    Attributes:
        steps: Gradient steps per start, >= 1.
        step_size: Length of the first step in widths of the input range, > 0; it falls as half a cosine to a hundredth.
        gamma: Share by which the radius falls after a success and rises after a failure, between 0 and 1.
        loss: "ce", "margin" or "dlr", or a function as in `robustkit.maths.losses`.
    """

    norm: Norm = "L2"
    steps: int = 100
    step_size: float = 1.0
    gamma: float = 0.05
    loss: str | Loss = "ce"

    name: ClassVar[str] = "ddn"
    source: ClassVar[str] = "Rony et al. 2019, arXiv 1811.09600"
    per_coordinate: ClassVar[bool] = True
    norms: ClassVar[tuple[Norm, ...]] = ("L2",)
    minimal: ClassVar[bool] = True
    leaves_ball: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "steps", self.steps)
        between(self.name, "step_size", self.step_size, "(0, inf)")
        between(self.name, "gamma", self.gamma, "(0, 1)")
        self.accept_loss()

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes the clean input, for later starts a random point."""
        x_adv = begin(problem, rows, clean=rows.restart == 0)
        return rows.having(x_adv=x_adv, radius=problem.threat.distance(x_adv, rows.x))

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Evaluates the gradient, resizes the sphere, and turns on it."""
        found = problem.gradient(rows, rows.x_adv, get_loss(self.loss, problem.targeted))
        hit = reaches_goal(problem, rows, found.logits)
        longer = torch.where(rows.step == 0, to_boundary(problem, rows, found), (1 + self.gamma) * rows["radius"])
        radius = torch.where(hit, (1 - self.gamma) * rows["radius"], longer)
        radius = torch.minimum(radius, farthest(problem, rows))

        step_size = problem.width(rows) * cooled(rows.step, self.steps, self.step_size, self.step_size / 100)
        delta = rows.x_adv.double() - rows.x.double()
        delta = delta + per_row(step_size, delta) * steepest(found.grad.double(), "L2")
        x_adv = moved(problem, rows, per_row(radius, delta) * steepest(delta, "L2"))
        return rows.having(logits=found.logits, x_adv=x_adv, radius=radius)
