"""Decoupled Direction and Norm: it turns along the gradient on a sphere whose radius it adapts separately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from robustkit.attack import Attack
from robustkit.errors import ConfigurationError
from robustkit.losses import get_loss
from robustkit.nearest import cooled, farthest, moved, nearby, reaches_goal, width
from robustkit.norms import Norm, per_row, size, steepest
from robustkit.rows import Problem, Rows


@dataclass(frozen=True, kw_only=True)
class DDN(Attack):
    """A minimal-norm attack for L2: the gradient sets the direction, success and failure alone set the length.

    Rony et al. 2019, arXiv 1811.09600, algorithm 1. Differences: starts after the first, which the paper lacks, are
    random. First radius and step are multiples of the input range. No radius exceeds the box.

    Attributes:
        steps: Gradient steps per start, >= 1.
        step_size: Length of the first step in widths of the box, > 0; it falls as half a cosine to a hundredth.
        gamma: Share by which the radius falls after a success and rises after a failure, in (0, 1).
        radius: First radius in widths of the box, > 0.
        levels: Round every point to a grid of so many levels between the bounds, 256 for images; None for no grid.
    """

    norm: Norm = "L2"
    steps: int = 100
    step_size: float = 1.0
    gamma: float = 0.05
    radius: float = 1.0
    levels: int | None = None

    name: ClassVar[str] = "ddn"
    source: ClassVar[str] = "Rony et al. 2019, arXiv 1811.09600"
    norms: ClassVar[tuple[Norm, ...]] = ("L2",)
    minimal: ClassVar[bool] = True
    leaves_ball: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.count("steps")
        for setting, fine, wanted in (
            ("step_size", 0 < self.step_size < float("inf"), "> 0"),
            ("gamma", 0 < self.gamma < 1, "in (0, 1)"),
            ("radius", 0 < self.radius < float("inf"), "> 0"),
        ):
            if not fine:
                raise ConfigurationError(f"ddn: expected {setting} {wanted}, got {getattr(self, setting)}; correct it")

    @property
    def steps_per_start(self) -> int:
        """Gradient steps."""
        return self.steps

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes the clean input, for later starts a random point."""
        first = per_row(rows.restart == 0, rows.x)
        return rows.having(
            x_adv=torch.where(first, rows.x, nearby(problem, rows)),
            sphere=torch.full_like(rows.distance, self.radius * width(problem)),
        )

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Evaluates the gradient, resizes the sphere, and turns on it."""
        found = problem.gradient(rows, rows.x_adv, get_loss("ce", problem.targeted))
        hit = reaches_goal(problem, rows, found.logits)
        sphere = rows.sphere * torch.where(hit, 1 - self.gamma, 1 + self.gamma)
        sphere = torch.minimum(sphere, farthest(problem, rows))
        step_size = width(problem) * cooled(rows.step, self.steps, self.step_size, self.step_size / 100)
        delta = rows.x_adv.double() - rows.x.double()
        delta = delta + per_row(step_size, delta) * steepest(found.grad.double(), "L2")
        delta = delta * per_row(sphere / size(delta, "L2").clamp(min=torch.finfo(torch.float64).tiny), delta)
        return rows.having(logits=found.logits, x_adv=moved(problem, rows, delta), sphere=sphere)
