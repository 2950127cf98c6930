"""The momentum iterative fast gradient sign method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from robustkit.attacks.base import Attack
from robustkit.attacks.rows import Problem, Rows
from robustkit.attacks.threat import Eps, parse_eps
from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import Scalar, between, integer
from robustkit.maths.losses import Loss, get_loss
from robustkit.maths.norms import per_row, size


@dataclass(frozen=True, kw_only=True)
class MIFGSM(Attack):
    """Steps from the clean input along a running sum of gradients, each of them first scaled to L1 norm one.

    Dong et al. 2018, arXiv 1710.06081, algorithm 1, equations 6 and 7 for Linf and section 3.3 for L2. Made for
    examples that carry over to other models; on the model itself APGD is stronger. Differences: the best point met is
    returned, not the last; the L1 step, which the paper lacks, is that of PGD.
    It makes no random choice, so `restarts` has no effect beyond repetition and must stay 1.

    Attributes:
        steps: Gradient steps, >= 1.
        step_size: Length of a step in `norm`; by default eps / steps.
        momentum: Weight of the running sum at each step (mu), >= 0; 0 leaves the last gradient alone.
        loss: "ce", "margin" or "dlr", or a function as in `robustkit.maths.losses`.
        share: For L1: share of the coordinates a step may touch, in (0, 1].
    """

    steps: int = 10
    step_size: Eps | None = None
    momentum: float = 1.0
    loss: str | Loss = "ce"
    share: float = 0.05

    name: ClassVar[str] = "mifgsm"
    source: ClassVar[str] = "Dong et al. 2018, arXiv 1710.06081"
    per_coordinate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "steps", self.steps)
        if self.restarts != 1:
            raise ConfigurationError(f"mifgsm: expected restarts 1, got {self.restarts}; it makes no random choice")
        between(self.name, "momentum", self.momentum, "[0, inf)")
        between(self.name, "share", self.share, "(0, 1]")
        self.accept_loss()
        if self.step_size is not None:
            between(self.name, "step_size", parse_eps(self.step_size), "[0, inf)")

    @property
    def step_length(self) -> float:
        """Length of one step in units of the input."""
        return parse_eps(self.eps) / self.steps if self.step_size is None else parse_eps(self.step_size)

    def settings(self) -> dict[str, Scalar]:
        """Returns every field, the step size resolved."""
        return {
            **super().settings(),
            "step_size": self.step_length if self.step_size is None else str(self.step_size),
        }

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes the clean input."""
        return rows.having(x_adv=rows.x, velocity=torch.zeros_like(rows.x))

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Evaluates the gradient, adds it to the sum, and moves along that."""
        found = problem.gradient(rows, rows.x_adv, get_loss(self.loss, problem.targeted))
        length = size(found.grad, "L1").clamp(min=torch.finfo(torch.float64).tiny)
        velocity = self.momentum * rows["velocity"] + (found.grad / per_row(length, found.grad)).to(rows.x.dtype)
        direction = problem.steepest(rows, rows.x_adv, velocity, self.step_length, self.share)
        x_adv = rows.x_adv + self.step_length * direction
        x_adv = problem.threat.project(x_adv, rows.x, rows.lower, rows.upper)
        return rows.having(logits=found.logits, x_adv=x_adv, velocity=velocity)
