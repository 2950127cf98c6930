"""Patch: APGD inside a square that is put where the gradient promises most, one place after the other."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from robustkit.attacks.apgd import APGD
from robustkit.attacks.base import Attack
from robustkit.attacks.rows import Problem, Rows
from robustkit.attacks.threat import Eps
from robustkit.base.settings import integer
from robustkit.maths.losses import Loss, get_loss
from robustkit.maths.norms import Norm
from robustkit.maths.windows import as_pictures, window_mask, window_sums


@dataclass(frozen=True, kw_only=True)
class Patch(Attack):
    """An adversarial patch: a square of `eps` pixels to the side, anywhere, whose values may be anything.

    Brown et al. 2017, arXiv 1712.09665, let one patch work on all images; this one is made for each image, by APGD
    (Croce & Hein 2020, arXiv 2003.01690) on the values inside the square. The first start takes the place where the
    loss would rise most if it were linear, each later one the best of those that are at least half a side away from all
    before.

    Attributes:
        steps: Iterations per start, >= 1.
        restarts: How many places are tried, >= 1.
        loss: "ce", "dlr" or "margin", or a function as in `robustkit.maths.losses`.
    """

    norm: Norm = "patch"
    eps: Eps = 5
    restarts: int = 5
    steps: int = 100
    loss: str | Loss = "ce"

    name: ClassVar[str] = "patch"
    source: ClassVar[str] = "Brown et al. 2017, arXiv 1712.09665; Croce & Hein 2020, arXiv 2003.01690"
    norms: ClassVar[tuple[Norm, ...]] = ("patch",)
    per_coordinate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "steps", self.steps)
        self.accept_loss()

    @cached_property
    def _inside(self) -> APGD:
        """What searches the values of a square whose place is settled."""
        return APGD(steps=self.steps, loss=self.loss)

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Settles the place of the square and proposes random values there."""
        found = problem.gradient(rows, rows.x, get_loss(self.loss, problem.targeted))
        lower, upper = problem.limits(rows)
        covered = self._covered(problem, rows, self._promise(found.grad, rows.x, lower, upper))
        lower, upper = torch.where(covered, lower, rows.x), torch.where(covered, upper, rows.x)
        return self._inside.start(_free(problem, rows), rows.having(lower=lower, upper=upper))

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Makes a step of APGD inside the square."""
        return self._inside.step(_free(problem, rows), rows)

    def _promise(self, grad: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Returns by how much each pixel could raise the loss if it were linear (N, H, W)."""
        rise = torch.maximum(grad * (upper - x), grad * (lower - x)).nan_to_num(0.0)
        return as_pictures(rise).sum(1).double()

    def _covered(self, problem: Problem, rows: Rows, promise: Tensor) -> Tensor:
        """Returns which values (N, ...) the square of each row's start covers."""
        side = int(problem.threat.radius)
        if side == 0:
            return torch.zeros_like(rows.x, dtype=torch.bool)
        sums = window_sums(promise, side)
        down, along = (torch.arange(extent, device=sums.device) for extent in sums.shape[1:])
        place = sums.flatten(1).argmax(1)
        for turn in range(1, self.restarts):
            top, left = (place // sums.shape[2]).view(-1, 1, 1), (place % sums.shape[2]).view(-1, 1, 1)
            near = ((down.view(-1, 1) - top).abs() < side / 2) & ((along - left).abs() < side / 2)
            sums = sums.masked_fill(near, -torch.inf)
            place = torch.where(rows.restart >= turn, sums.flatten(1).argmax(1), place)
        mask = window_mask(place, promise.shape, side)
        return mask.unsqueeze(1).expand_as(as_pictures(rows.x)).reshape(rows.x.shape)


def _free(problem: Problem, rows: Rows) -> Problem:
    """Returns the problem with no limit but those of the rows."""
    return dataclasses.replace(
        problem, threat=dataclasses.replace(problem.threat, norm="Linf", eps=problem.width(rows))
    )
