"""Sparse-RS: random search over which few places to change, and to which end of the input range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustkit.attacks.base import Attack
from robustkit.attacks.rows import Problem, Rows
from robustkit.attacks.threat import Eps, Threat
from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import between, integer
from robustkit.maths.losses import Loss, get_loss
from robustkit.maths.norms import SPARSE, Norm, by_place, where_rows
from robustkit.model.classifier import Classifier

SHARES = ((0, 2), (50, 4), (200, 5), (500, 6), (1000, 8), (2000, 10), (4000, 12), (6000, 15), (8000, 20))
HORIZON = 10_000  # iterations that SHARES is made for


@dataclass(frozen=True, kw_only=True)
class SparseRS(Attack):
    """Random search: exchange some of the changed places for others, keep the exchange if the loss rises.

    Croce et al. 2022, arXiv 2006.12834, algorithm 1 with the schedule for L0. Exactly eps places are changed all along,
    their values at one end of the input range each. It needs no gradient. The share of the places that is exchanged
    is `share` / 2 at first, / 4 after 50 iterations, then / 5, 6, 8, 10, 12, 15, 20 after 200, 500, 1000, 2000, 4000,
    6000 and 8000, of 10000.

    Differences: every row draws its own places and values, so that results do not depend on the batch; where all
    places are changed already, some get new values instead.

    Attributes:
        queries: Evaluations of the model per start and row, >= 1, the first point included.
        share: Twice the share of the places exchanged at first, in (0, 1].
        rescale_schedule: Stretch the iterations above, meant for 10000 queries, to `queries`.
        loss: "margin", "ce" or "dlr", or a function as in `robustkit.maths.losses`.
    """

    norm: Norm = "L0"
    eps: Eps = 10
    queries: int = 5000
    share: float = 0.8
    rescale_schedule: bool = True
    loss: str | Loss = "margin"

    name: ClassVar[str] = "sparse-rs"
    kind: ClassVar[str] = "black-box"
    source: ClassVar[str] = "Croce et al. 2022, arXiv 2006.12834"
    norms: ClassVar[tuple[Norm, ...]] = SPARSE
    per_coordinate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "queries", self.queries)
        between(self.name, "share", self.share, "(0, 1]")
        self.accept_loss()

    @property
    def steps_per_start(self) -> int:
        """One less than `queries`, because the engine asks about the last proposal."""
        return self.queries - 1

    def threat(self, classifier: Classifier) -> Threat:
        """Returns what it may change; refuses an input range without ends, which are the values it tries."""
        threat = super().threat(classifier)
        if not all(abs(end) < float("inf") for end in threat.range):
            raise ConfigurationError(
                f"sparse-rs: expected a finite input range, got {threat.bounds}; give the Classifier bounds, or use"
                " sigma-zero"
            )
        return threat

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes random ends at random places."""
        nothing = torch.full_like(rows.goal, -torch.inf, dtype=torch.float64)
        keys, ends = self._drawn(problem, rows, rows.step)
        chosen = keys <= _smallest(keys, torch.full_like(rows.goal, int(problem.threat.radius)))
        x_adv = torch.where(self._as_input(chosen, rows), ends, rows.x)
        return rows.having(x_adv=x_adv, chosen=chosen, x_best=x_adv, chosen_best=chosen, loss_best=nothing)

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Asks for the scores, keeps the proposal if it is no worse than the best, and exchanges places of the best."""
        logits = problem.logits(rows, rows.x_adv)
        loss = get_loss(self.loss, problem.targeted)(logits.double(), rows.goal)[0]
        better = loss >= rows["loss_best"]
        best = where_rows(better, rows.x_adv, rows["x_best"])
        chosen = where_rows(better, rows["chosen"], rows["chosen_best"])
        rows = rows.having(
            logits=logits, x_best=best, chosen_best=chosen, loss_best=torch.where(better, loss, rows["loss_best"])
        )
        keys, ends = self._drawn(problem, rows, rows.step + 1)
        movable = keys.isfinite()
        free = movable & ~chosen
        held = chosen.sum(1)
        count = torch.minimum((self._share(rows.step + 1) * held).long().clamp(min=1), held)
        room = free.sum(1)
        count = torch.where(room > 0, torch.minimum(count, room), count)
        leaving = chosen & (keys <= _smallest(keys.masked_fill(~chosen, torch.inf), count))
        coming = free & (keys <= _smallest(keys.masked_fill(~free, torch.inf), count))
        coming = torch.where((room > 0).unsqueeze(1), coming, leaving)
        x_adv = torch.where(self._as_input(leaving, rows), rows.x, best)
        x_adv = torch.where(self._as_input(coming, rows), ends, x_adv)
        return rows.having(x_adv=x_adv, chosen=(chosen & ~leaving) | coming)

    def _drawn(self, problem: Problem, rows: Rows, step: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a number for every place (N, places), infinite where nothing may change, and an end for each value.

        The places of least number are a random choice.
        """
        lower, upper = (by_place(end, self.norm) for end in (rows.lower, rows.upper))
        channels, places = lower.shape[1:]
        u = problem.stream.uniform((1 + channels, places), rows.ids, rows.restart, step)
        fixed = (lower == upper).all(1)
        ends = torch.where(u[:, 1:] < 0.5, lower, upper).reshape(rows.x.shape)
        return u[:, 0].masked_fill(fixed, torch.inf), ends

    def _share(self, iteration: Tensor) -> Tensor:
        """Returns the share of the changed places that is exchanged at each `iteration` (1, 2, ...), in float64."""
        at = iteration * HORIZON // self.queries if self.rescale_schedule else iteration
        starts, parts = (torch.tensor(column, device=at.device) for column in zip(*SHARES, strict=True))
        return self.share / parts[((at.unsqueeze(1) > starts).sum(1) - 1).clamp(min=0)].double()

    def _as_input(self, places: Tensor, rows: Rows) -> Tensor:
        """Returns marks on places (N, places) as marks on the values of inputs."""
        return places.unsqueeze(1).expand_as(by_place(rows.x, self.norm)).reshape(rows.x.shape)


def _smallest(keys: Tensor, count: Tensor) -> Tensor:
    """Returns the `count`-th smallest finite number of every row (N, 1): what is at most that is `count` numbers.

    Where fewer are finite, the largest of those; minus infinity where `count` is 0.
    """
    least = keys.sort(dim=1).values
    at = torch.minimum(count, keys.isfinite().sum(1)).unsqueeze(1)
    return torch.where(at > 0, least.gather(1, (at - 1).clamp(min=0)), -torch.inf)
