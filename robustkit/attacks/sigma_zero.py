"""sigma-zero: gradient descent on a smooth count of the changed values, pruned to what is changed by more than tau."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustkit.attacks.base import Attack
from robustkit.attacks.minimum_norm import cooled, reaches_goal
from robustkit.attacks.rows import Problem, Rows
from robustkit.attacks.threat import Eps
from robustkit.base.settings import between, integer
from robustkit.maths.losses import get_loss
from robustkit.maths.norms import SPARSE, Norm, by_place, per_row

_DECAY, _SQUARE_DECAY, _NOTHING = 0.9, 0.999, 1e-8  # of Adam (Kingma & Ba 2015, arXiv 1412.6980)


@dataclass(frozen=True, kw_only=True)
class SigmaZero(Attack):
    """A minimal-norm attack in L0: Adam on the margin plus a smooth L0 norm, then small changes are undone.

    Cina et al. 2024, arXiv 2402.01879, algorithm 1. The smooth norm is the mean over the values of d^2 / (d^2 + sigma),
    and counts for little until the row is adversarial, when the margin falls out of the loss. The gradient is divided
    by its largest entry. A change below tau is undone; tau rises after a success and falls after a failure.

    Differences: changes are measured in widths of the input range, each value in its own; the authors' code never
    moves tau, we do as the paper says; in "L0-pixels", which is ours, d^2 is the sum over the channels of a pixel, and
    a pixel is undone where no channel exceeds tau; starts after the first are uniform in the input range.

    Attributes:
        steps: Gradient steps per start, >= 1.
        step_size: Of the first step, > 0; it falls as half a cosine to a tenth.
        sigma: How smooth the norm is, > 0; smaller is sharper.
        tau: First change below which a value is undone, between 0 and 1.
        tau_step: By how much of the step size tau moves, > 0.
    """

    norm: Norm = "L0"
    eps: Eps = 10
    steps: int = 1000
    step_size: float = 1.0
    sigma: float = 1e-3
    tau: float = 0.3
    tau_step: float = 0.01

    name: ClassVar[str] = "sigma-zero"
    source: ClassVar[str] = "Cina et al. 2024, arXiv 2402.01879"
    norms: ClassVar[tuple[Norm, ...]] = SPARSE
    per_coordinate: ClassVar[bool] = True
    minimal: ClassVar[bool] = True
    leaves_ball: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "steps", self.steps)
        for name in ("step_size", "sigma", "tau_step"):
            between(self.name, name, getattr(self, name), "(0, inf)")
        between(self.name, "tau", self.tau, "(0, 1)")

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes the clean input, for later starts a random point of the input range."""
        uniform = problem.stream.uniform(tuple(rows.x.shape[1:]), rows.ids, rows.restart, rows.step)
        change = per_row(rows.restart > 0, rows.x) * (2 * uniform - 1).to(rows.x.dtype)
        zero = torch.zeros_like(rows.x)
        tau = torch.full_like(rows.distance, self.tau)
        return self._moved(rows, change).having(mean=zero, square=zero, tau=tau)

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Evaluates the gradient, makes a step of Adam, and undoes what is changed by less than tau."""
        found = problem.gradient(rows, rows.x_adv, get_loss("margin", problem.targeted))
        hit, change = reaches_goal(problem, rows, found.logits), rows["change"]
        climb = torch.where(per_row(hit, change), 0.0, found.grad * _width(rows)).to(change.dtype)
        grad = self._count_gradient(change) - climb
        grad = grad / per_row(grad.flatten(1).abs().amax(1).clamp(min=1e-12), grad)

        mean = torch.lerp(grad, rows["mean"], _DECAY)
        square = torch.lerp(grad.square(), rows["square"], _SQUARE_DECAY)
        count, step_size = rows.step + 1, cooled(rows.step, self.steps, self.step_size, self.step_size / 10)
        pace = per_row(step_size / (1 - _DECAY**count), grad).to(grad.dtype)
        spread = (square / per_row(1 - _SQUARE_DECAY**count, grad)).sqrt() + _NOTHING
        rows = self._moved(rows, change - pace * mean / spread)

        tau = (rows["tau"] + self.tau_step * torch.where(hit, step_size, -step_size)).clamp(0, 1)
        largest = by_place(rows["change"].abs(), self.norm).amax(1, keepdim=True)
        kept = (largest >= tau.view(-1, 1, 1)).expand_as(by_place(change, self.norm)).reshape(change.shape)
        rows = self._moved(rows, torch.where(kept, rows["change"], 0.0))
        return rows.having(logits=found.logits, mean=mean, square=square, tau=tau)

    def _count_gradient(self, change: Tensor) -> Tensor:
        """Returns the gradient of the smooth norm, divided by the number of values."""
        square = by_place(change.square(), self.norm).sum(1, keepdim=True)
        slope = 2 * self.sigma / (square + self.sigma).square()
        return change * slope.expand_as(by_place(change, self.norm)).reshape(change.shape) / square[0].numel()

    def _moved(self, rows: Rows, change: Tensor) -> Rows:
        """Returns the rows at `change`, in widths of the input range, from the clean inputs, and within that range."""
        x_adv = (rows.x + _width(rows) * change).clamp(rows.lower, rows.upper)
        return rows.having(x_adv=x_adv, change=((x_adv - rows.x) / _width(rows)).nan_to_num(0.0))


def _width(rows: Rows) -> Tensor:
    """Returns how wide the input range is at every value, 1 where it has no end; 0 where nothing may change."""
    wide = rows.upper - rows.lower
    return torch.where(wide.isfinite(), wide, 1.0)
