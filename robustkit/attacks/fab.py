"""Fast Adaptive Boundary: it walks along the decision boundary towards the clean input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from robustkit.attacks.base import Attack
from robustkit.attacks.minimum_norm import begin, reaches_goal
from robustkit.attacks.rows import Problem, Rows
from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import between, integer
from robustkit.maths.hyperplane import inner, shortest
from robustkit.maths.losses import Loss, get_loss, margin_towards, runner_up_classes
from robustkit.maths.norms import per_row, size, where_rows


@dataclass(frozen=True, kw_only=True)
class FAB(Attack):
    """A minimal-norm attack: each step linearises the decision boundary and moves past it, biased to the clean input.

    Croce & Hein 2020, arXiv 1907.02044, algorithm 1. With `targets` = n > 0 it is FAB-T: each start looks at the
    boundary to one of the n most likely wrong classes of the clean input only, one backward pass a step instead of one
    for every wrong class; any misclassification counts. A row driven to a goal looks at the boundary between the goal
    and its strongest rival, which may change from step to step.

    Differences: the nearest of several boundaries is the nearest within the input range, not without one; the final
    search along the segment to the clean input is left out.

    Attributes:
        steps: Iterations per start, >= 1; each costs one forward pass more than it has backward passes.
        alpha_max: Largest weight of the clean input in the next point, between 0 and 1.
        eta: Overshoot past the linearised boundary, > 1.
        beta: Share of the perturbation that is kept once it succeeded, between 0 and 1.
        targets: 0 for the untargeted attack, else how many classes to look at, one start each (times `restarts`).
            Where the model has fewer wrong classes, they come round again with random starts.
    """

    steps: int = 100
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    targets: int = 0

    name: ClassVar[str] = "fab"
    source: ClassVar[str] = "Croce & Hein 2020, arXiv 1907.02044"
    per_coordinate: ClassVar[bool] = True
    minimal: ClassVar[bool] = True
    leaves_ball: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "steps", self.steps)
        between(self.name, "alpha_max", self.alpha_max, "(0, 1)")
        between(self.name, "eta", self.eta, "(1, inf)")
        between(self.name, "beta", self.beta, "(0, 1)")
        integer(self.name, "targets", self.targets, least=0)
        if self.targets and self.target is not None:
            raise ConfigurationError("fab: expected either target or targets, got both; drop one")

    @property
    def label(self) -> str:
        """Fab or fab-t."""
        return "fab-t" if self.targets else "fab"

    @property
    def starts(self) -> int:
        """One start per restart and target."""
        return self.restarts * max(self.targets, 1)

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes the clean input the first time a row looks at a boundary, a random point every other time."""
        if self.targets and problem.targeted:
            raise ConfigurationError("fab: expected either a target per sample or targets, got both; drop one")
        aims = self._aims(problem, rows)
        return rows.having(
            x_adv=begin(problem, rows, clean=rows.restart < aims.shape[1]),
            aim=aims.gather(1, (rows.restart % aims.shape[1]).unsqueeze(1)).squeeze(1),
        )

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Steps back toward the clean input where the iterate succeeds, then moves past the linearised boundary."""
        logits = problem.logits(rows, rows.x_adv, relaxed=True)
        hit = per_row(reaches_goal(problem, rows, logits), rows.x)
        back = rows.x + self.beta * (rows.x_adv - rows.x)
        return rows.having(logits=logits, x_adv=self._move(problem, rows, torch.where(hit, back, rows.x_adv)))

    def _move(self, problem: Problem, rows: Rows, point: Tensor) -> Tensor:
        """Returns the next iterate: `point` and the clean input, each moved past the boundary, averaged."""
        low, high = problem.box(rows)
        x = rows.x
        normal, gap, from_here = self._boundary(problem, rows, point)
        from_x = shortest(normal, gap + inner(normal, x - point), low - x, high - x, self.norm)
        near, far = size(from_here, self.norm), size(from_x, self.norm)
        share = near / (near + far).clamp(min=torch.finfo(torch.float64).tiny)
        alpha = per_row(share.clamp(max=self.alpha_max), x).to(x.dtype)
        average = (point + self.eta * from_here).lerp(x + self.eta * from_x, alpha)
        return average.clamp(low, high)

    def _boundary(self, problem: Problem, rows: Rows, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns normal and gap, seen from `point`, of the nearest linearised boundary, and the way to it.

        One that lies outside the input range is taken to be as far as its gap says at the rate the way closes it.
        """
        low, high = problem.box(rows)
        normal = way = torch.zeros_like(point)
        gap, nearest = torch.zeros_like(rows.distance), torch.full_like(rows.distance, torch.inf)
        for loss in self._losses(problem, rows):
            found = problem.gradient(rows, point, loss)
            slope, height = found.grad, found.loss.nan_to_num()
            delta = shortest(slope, height, low - point, high - point, self.norm)
            distance = size(delta, self.norm) * height.abs() / inner(slope, delta).abs()
            nearer = distance < nearest  # false where there is no slope
            nearest, gap = torch.where(nearer, distance, nearest), torch.where(nearer, height, gap)
            normal = where_rows(nearer, slope, normal)
            way = where_rows(nearer, delta, way)
        return normal, gap, way

    def _losses(self, problem: Problem, rows: Rows) -> list[Loss]:
        """Returns the functions of the logits whose zeros are the boundaries to look at."""
        if problem.targeted:
            return [get_loss("margin", targeted=True)]
        if self.targets:
            return [partial(margin_towards, aim=rows["aim"])]
        classes = problem.classifier.classes(rows.x)
        return [partial(margin_towards, aim=(rows.goal + k) % classes) for k in range(1, classes)]

    def _aims(self, problem: Problem, rows: Rows) -> Tensor:
        """Returns the classes to look at by falling clean logits, one start each; without `targets`, any column."""
        if not self.targets:
            return rows.goal.unsqueeze(1)
        return runner_up_classes(problem.logits(rows, rows.x), rows.goal)[:, : self.targets]
