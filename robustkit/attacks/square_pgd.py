"""Square, then PGD: short random searches, each followed by a short gradient ascent from where it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from robustkit.attacks.base import Attack
from robustkit.attacks.rows import Problem, Rows
from robustkit.attacks.square import Square
from robustkit.base.settings import between, integer
from robustkit.maths.losses import Loss, get_loss
from robustkit.maths.norms import per_row

SCHEDULE = 1000  # queries over which the windows of the search shrink, unless there are more


@dataclass(frozen=True, kw_only=True)
class SquarePGD(Attack):
    """Each start is a short Square Attack, from whose best point PGD goes on with steps that shrink from eps / 2 to 0.

    Andriushchenko et al. 2020, arXiv 1912.00049, then Madry et al. 2018, arXiv 1706.06083. Where gradients are masked
    near the clean input, the search leaves that region in a few queries, and gradients finish what takes a search
    alone thousands (docs/log.md). What it alone breaks is therefore a sign of masked gradients.

    Attributes:
        queries: Evaluations of the random search per start, >= 1.
        steps: Gradient steps behind them, >= 1.
        loss: "margin", "ce" or "dlr", or a function as in `robustkit.maths.losses`.
        share: For L1: share of the coordinates a step may touch, in (0, 1].
    """

    queries: int = 100
    steps: int = 20
    loss: str | Loss = "margin"
    share: float = 0.05

    name: ClassVar[str] = "square-pgd"
    kind: ClassVar[str] = "hybrid"
    source: ClassVar[str] = "Andriushchenko et al. 2020, arXiv 1912.00049; Madry et al. 2018, arXiv 1706.06083"
    per_coordinate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "queries", self.queries)
        integer(self.name, "steps", self.steps)
        between(self.name, "share", self.share, "(0, 1]")
        self.accept_loss()

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes the best point of a random search."""
        search = Square(
            norm=self.norm, eps=self.eps, queries=max(SCHEDULE, self.queries), rescale_schedule=True, loss=self.loss
        )
        found = search.start(problem, rows.having(step=torch.zeros_like(rows.step)))
        for _ in range(self.queries):
            found = search.step(problem, found)
            found = found.having(step=found.step + 1)
        return rows.having(x_adv=found["x_best"])

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Evaluates the gradient and moves along it."""
        found = problem.gradient(rows, rows.x_adv, get_loss(self.loss, problem.targeted))
        longest = problem.threat.radius / 2
        direction = problem.steepest(rows, rows.x_adv, found.grad, longest, self.share)
        length = per_row(longest * (1 - rows.step / self.steps), direction).to(direction.dtype)
        x_adv = rows.x_adv.addcmul(length, direction)
        return rows.having(x_adv=problem.threat.project(x_adv, rows.x, rows.lower, rows.upper), logits=found.logits)
