"""Auto-PGD: projected gradient ascent that sets its own step size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from robustkit.attacks import apgd_l1
from robustkit.attacks.base import Attack
from robustkit.attacks.rows import Problem, Rows
from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import integer
from robustkit.maths.losses import Loss, dlr_towards, get_loss, margin_towards, runner_up_classes
from robustkit.maths.norms import per_row, size, steepest, where_rows
from robustkit.model.gradient import Gradient

MOMENTUM = 0.75  # alpha of equation 5, and rho of condition 1 in section 3.2


@dataclass(frozen=True, kw_only=True)
class APGD(Attack):
    """PGD with momentum whose step halves, row by row, when progress stalls, going back to the best point.

    Croce & Hein 2020, arXiv 2003.01690, algorithm 1. With `targets` = n > 0 it is APGD-T: each start aims at one of the
    n most likely wrong classes of the clean input, by the targeted DLR loss (equation 7) or, with fewer than four
    classes where that does not exist, by the difference of the two logits.

    In L1 it takes the sparse steps of Croce & Hein 2021, arXiv 2103.01208, which begin in a ball of radius 3 eps; the
    deviations are in `apgd_l1`. Points outside eps do not count.

    Attributes:
        steps: Iterations per start, >= 1.
        loss: "ce", "dlr" or "margin", or a function as in `robustkit.maths.losses`; "dlr" where `targets` is set.
        targets: 0 for the untargeted attack, else how many classes to aim at, one start each (times `restarts`). Where
            the model has fewer wrong classes, they come round again with fresh starts.
    """

    steps: int = 100
    loss: str | Loss = "ce"
    targets: int = 0

    name: ClassVar[str] = "apgd"
    source: ClassVar[str] = "Croce & Hein 2020, arXiv 2003.01690"
    per_coordinate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "steps", self.steps)
        self.accept_loss()
        integer(self.name, "targets", self.targets, least=0)
        if self.targets and self.loss != "dlr":
            raise ConfigurationError(f"apgd: expected loss 'dlr' with targets, got {self.loss!r}; say loss=dlr")
        if self.targets and self.target is not None:
            raise ConfigurationError("apgd: expected either target or targets, got both; drop one")

    @property
    def leaves_ball(self) -> bool:  # type: ignore[override]
        """In L1 it begins in larger balls."""
        return self.norm == "L1"

    @property
    def label(self) -> str:
        """Apgd-ce, apgd-dlr, apgd-margin or apgd-t."""
        return "apgd-t" if self.targets else f"apgd-{getattr(self.loss, 'name', self.loss)}"

    @property
    def starts(self) -> int:
        """One start per restart and target."""
        return self.restarts * max(self.targets, 1)

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes a random point: in the ball of 3 eps for L1, else at the radius (before the input range)."""
        rows = apgd_l1.begin(problem, rows, self.steps) if self.norm == "L1" else self._begin(problem, rows)
        return rows.having(
            aim=self._aim(problem, rows),
            x_best=rows.x_adv,
            grad_best=torch.zeros_like(rows.x),
            loss_best=torch.full_like(rows.goal, -torch.inf, dtype=torch.float64),
        )

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Evaluates the gradient, keeps the best point, and moves."""
        found = problem.gradient(rows, rows.x_adv, self._loss(problem, rows))
        better = found.loss > rows["loss_best"]
        rows = rows.having(
            logits=found.logits,
            x_best=where_rows(better, rows.x_adv, rows["x_best"]),
            grad_best=where_rows(better, found.grad, rows["grad_best"]),
            loss_best=torch.where(better, found.loss, rows["loss_best"]),
        )
        if self.norm == "L1":
            return apgd_l1.advance(problem, rows, found.grad, self.steps)
        return self._advance(problem, rows, found)

    def _begin(self, problem: Problem, rows: Rows) -> Rows:
        """Draws Linf noise with one coordinate at the radius, or L2 noise on the sphere."""
        shape = tuple(rows.x.shape[1:])
        if self.norm == "Linf":
            noise = 2 * problem.stream.uniform(shape, rows.ids, rows.restart, rows.step) - 1
        else:
            noise = problem.stream.normal(shape, rows.ids, rows.restart, rows.step)
        delta = problem.threat.radius * noise / per_row(size(noise, self.norm), noise)
        x_adv = self._project(problem, rows, (rows.x + delta).to(rows.x.dtype))
        worst = torch.full_like(rows.goal, -torch.inf, dtype=torch.float64)
        return rows.having(
            x_adv=x_adv,
            x_last=x_adv,
            loss_last=worst,
            loss_checked=worst,
            step_size=torch.full_like(worst, 2 * problem.threat.radius),
            rises=torch.zeros_like(rows.goal),
            halved=torch.ones_like(rows.broken),
        )

    def _advance(self, problem: Problem, rows: Rows, found: Gradient) -> Rows:
        """Judges the progress at checkpoints and makes the step with momentum (equation 5)."""
        first = rows.step == 0
        rises = torch.where(first, 0, rows["rises"] + (found.loss > rows["loss_last"]))
        loss_checked = torch.where(first, found.loss, rows["loss_checked"])

        window = _windows(self.steps, rows.step.device)[rows.step]
        check = window > 0
        oscillates = rises <= MOMENTUM * window
        stalls = ~rows["halved"] & (rows["loss_best"] <= loss_checked)
        halve = check & (oscillates | stalls)
        step_size = torch.where(halve, rows["step_size"] / 2, rows["step_size"])
        x = where_rows(halve, rows["x_best"], rows.x_adv)
        grad = where_rows(halve, rows["grad_best"], found.grad)

        step = per_row(step_size, x).to(x.dtype)
        ahead = self._project(problem, rows, x.addcmul(step, steepest(grad, self.norm)))
        weight = per_row(torch.where(first, 1.0, MOMENTUM).to(x.dtype), x)  # at first there is nothing to carry on
        x_adv = x.lerp(ahead, weight).add_(x - rows["x_last"], alpha=1 - MOMENTUM)
        x_adv = self._project(problem, rows, x_adv)
        return rows.having(
            x_adv=x_adv,
            x_last=x,
            loss_last=found.loss,
            loss_checked=torch.where(check, rows["loss_best"], loss_checked),
            step_size=step_size,
            rises=torch.where(check, 0, rises),
            halved=torch.where(check, halve, rows["halved"]),
        )

    def _project(self, problem: Problem, rows: Rows, x_adv: Tensor) -> Tensor:
        return problem.threat.project(x_adv, rows.x, rows.lower, rows.upper)

    def _aim(self, problem: Problem, rows: Rows) -> Tensor:
        """Returns the class each row aims at; without targets it is not used."""
        if not self.targets:
            return rows.goal
        order = runner_up_classes(problem.logits(rows, rows.x), rows.goal)
        rank = rows.restart % min(self.targets, order.shape[1])
        return order.gather(1, rank.unsqueeze(1)).squeeze(1)

    def _loss(self, problem: Problem, rows: Rows) -> Loss:
        if not self.targets:
            return get_loss(self.loss, problem.targeted)
        towards = dlr_towards if (problem.classifier.num_classes or 0) >= 4 else margin_towards
        return lambda z, y: towards(z, y, rows["aim"])


def checkpoints(steps: int) -> list[int]:
    """Returns the iterations after which progress is judged (section 3.2: 22, 41, 57, 70, 80, 87, 93, 99 of 100)."""
    length, least, shorter = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    found, at = [], length
    while at <= steps:
        found.append(at)
        length = max(length - shorter, least)
        at += length
    return found


def windows(steps: int) -> list[int]:
    """Returns for each iteration 0..steps the number of iterations it closes if it is a checkpoint, else 0."""
    ends = [0, *checkpoints(steps)]
    lengths = {end: end - begin for begin, end in pairwise(ends)}
    return [lengths.get(i, 0) for i in range(steps + 1)]


@cache
def _windows(steps: int, device: torch.device) -> Tensor:
    """Returns `windows` as a tensor, which every step reads."""
    return torch.tensor(windows(steps), device=device)
