"""Projected gradient descent, the standard attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from robustkit.attacks.base import Attack
from robustkit.attacks.rows import Problem, Rows
from robustkit.attacks.threat import Eps, parse_eps
from robustkit.base.settings import Scalar, between, integer
from robustkit.maths.losses import Loss, get_loss


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Repeated steepest-ascent steps of the loss, each projected back onto ball and input range.

    Madry et al. 2018, arXiv 1706.06083, section 2.1. Differences: the best point met is returned, not the last;
    L2 and L1 starts are uniform in the ball; the L1 step uses the `share` of coordinates with the largest gradient
    (Tramer & Boneh 2019, arXiv 1904.13000, section 4).

    Attributes:
        steps: Gradient steps per start, >= 1.
        step_size: Length of a step in `norm`; by default 2.5 * eps / steps.
        loss: "ce", "margin" or "dlr", or a function as in `robustkit.maths.losses`.
        random_start: Start uniformly in the ball; otherwise at the clean input (then restarts repeat themselves).
        share: For L1: share of the coordinates a step may touch, in (0, 1].
    """

    steps: int = 40
    step_size: Eps | None = None
    loss: str | Loss = "ce"
    random_start: bool = True
    share: float = 0.05

    name: ClassVar[str] = "pgd"
    source: ClassVar[str] = "Madry et al. 2018, arXiv 1706.06083"
    per_coordinate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "steps", self.steps)
        between(self.name, "share", self.share, "(0, 1]")
        self.accept_loss()
        if self.step_size is not None:
            between(self.name, "step_size", parse_eps(self.step_size), "[0, inf)")

    @property
    def step_length(self) -> float:
        """Length of one step in units of the input."""
        return 2.5 * parse_eps(self.eps) / self.steps if self.step_size is None else parse_eps(self.step_size)

    def settings(self) -> dict[str, Scalar]:
        """Returns every field, the step size resolved."""
        return {
            **super().settings(),
            "step_size": self.step_length if self.step_size is None else str(self.step_size),
        }

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes a random point of the ball, or the clean input."""
        if not self.random_start:
            return rows.having(x_adv=rows.x)
        x_adv = problem.threat.random(rows.x, problem.stream, rows.ids, rows.restart, rows.step)
        return rows.having(x_adv=problem.threat.project(x_adv, rows.x, rows.lower, rows.upper))

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Evaluates the gradient and moves along it."""
        found = problem.gradient(rows, rows.x_adv, get_loss(self.loss, problem.targeted))
        direction = problem.steepest(rows, rows.x_adv, found.grad, self.step_length, self.share)
        x_adv = rows.x_adv.add(direction, alpha=self.step_length)
        return rows.having(x_adv=problem.threat.project(x_adv, rows.x, rows.lower, rows.upper), logits=found.logits)
