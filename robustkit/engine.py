"""The driver of all attacks: it feeds rows in, looks at what they met, and takes them out once they are broken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from robustkit.classifier import Classifier
from robustkit.losses import margin
from robustkit.norms import per_row
from robustkit.rng import Stream
from robustkit.rows import Problem, Rows

if TYPE_CHECKING:
    from robustkit.attack import Attack

_KEPT = (
    "x",
    "ids",
    "goal",
    "position",
    "lower",
    "upper",
    "best",
    "restart",
    "step",
    "steps",
    "queries",
    "broken",
    "margin",
)
_RESULT = ("x", "x_adv", "position", "broken", "margin", "steps", "queries")
_FAR = 1e30  # stands for an infinite margin, so that means stay finite


class Splitter:
    """Runs a function on rows in batches of at most `size`, halved for good whenever memory runs out."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, function: Callable[[Rows], Rows], rows: Rows) -> Rows:
        """Returns `function(rows)`, computed in as many parts as memory demands."""
        parts: list[Rows] = []
        done = 0
        while done < len(rows) or not parts:
            part = rows if len(rows) <= self.size else rows.take(slice(done, done + self.size))
            try:
                parts.append(function(part))
            except torch.OutOfMemoryError:
                if len(part) <= 1:
                    raise
                self.size = len(part) // 2
                torch.cuda.empty_cache()
                continue
            done += len(part)
        return Rows.join(parts)


class Engine:
    """Runs one attack over a stream of samples with full batches and no more memory than one batch needs.

    Every row depends on its own data and random numbers only, so batch size, order and company do not matter. A row
    leaves once it is broken and a waiting row takes its place. Broken is decided by the engine, from the logits at
    every point an attack evaluates, and the first broken (else the nearest) point is kept: no success gets lost.

    Args:
        attack: The attack.
        classifier: Already inside its `frozen()` context.
        seed: Seed of the run.
        batch_size: Rows the model sees at once; halved when memory runs out.
        targeted: Whether `goal` in `submit` is the class to reach rather than the one to leave.
    """

    def __init__(
        self,
        attack: Attack,
        classifier: Classifier,
        *,
        seed: int = 0,
        batch_size: int = 256,
        targeted: bool = False,
    ) -> None:
        self.attack = attack
        self.classifier = classifier
        self.problem = Problem(classifier, attack.threat(classifier), Stream(seed, attack.name), targeted)
        self.split = Splitter(batch_size)
        self.live: Rows | None = None
        self.age = np.zeros(0, dtype=np.int64)  # steps of each live row since its start, known without asking the GPU
        self.waiting: deque[Rows] = deque()
        self.submitted = 0
        # Looking at the rows of a GPU makes the CPU wait for it, so there it is done every few steps only.
        self.look_every = 1 if classifier.device.type == "cpu" else 8
        self.ticks = 0
        looks = attack.starts * (attack.steps_per_start + 1)
        self._path = torch.zeros(2, looks, dtype=torch.float64, device=classifier.device)

    def submit(self, x: Tensor, ids: Tensor, goal: Tensor) -> None:
        """Queues clean rows `x` (N, ...) with their `ids` and `goal` (N,): the label, or the target if targeted."""
        device = self.classifier.device
        position = torch.arange(self.submitted, self.submitted + len(x), device=device)
        self.submitted += len(x)
        x = x.to(device, self.classifier.dtype)
        rows = Rows(x=x, ids=ids.to(device, torch.int64), goal=goal.to(device), position=position)
        self.waiting.extend(rows.take(slice(i, i + self.split.size)) for i in range(0, len(x), self.split.size))

    def run(self, drain: bool = False) -> Iterator[Rows]:
        """Yields finished rows as they come: `x, x_adv, position, broken, margin, steps, queries`.

        Args:
            drain: Run until nothing is left; otherwise stop when the waiting rows no longer fill the batch.
        """
        while True:
            work = len(self.age) + sum(map(len, self.waiting))
            if work == 0 or (work < self.split.size and not drain):
                return
            self._admit()
            ended = self.age == self.attack.steps_per_start
            if ended.any():
                yield from self._leave_at_end(ended)
            elif self.live is not None:
                self.live = self.split(self._step, self.live)
                self.age += 1
                self.ticks += 1
                if self.ticks % self.look_every == 0:
                    yield from self._leave_when_broken(self.live)

    def loss_path(self) -> list[float]:
        """Returns the mean over all rows of the best margin so far, after each look (restarts one after another)."""
        sums = self._path[0] + self._path[1].cumsum(0)
        return (sums / max(self.submitted, 1)).tolist()

    def _admit(self) -> None:
        """Lets waiting rows in once a quarter of the batch is free."""
        free = self.split.size - len(self.age)
        if not self.waiting or (self.live is not None and free < max(1, self.split.size // 4)):
            return
        fresh: list[Rows] = []
        while self.waiting and free > 0:
            part = self.waiting.popleft()
            if len(part) > free:
                self.waiting.appendleft(part.take(slice(free, None)))
                part = part.take(slice(free))
            free -= len(part)
            fresh.append(part)
        self._join(self._blank(Rows.join(fresh)))

    def _blank(self, rows: Rows) -> Rows:
        """Returns new rows with everything the engine keeps about a row."""
        zero = torch.zeros(len(rows), dtype=torch.int64, device=rows.x.device)
        lower, upper = self.problem.threat.limits(rows.x)
        return rows.having(
            lower=lower, upper=upper, best=rows.x, restart=zero, step=zero, steps=zero, queries=zero,
            broken=zero.bool(), margin=torch.full_like(zero, -torch.inf, dtype=torch.float64),
        )  # fmt: skip

    def _join(self, rows: Rows) -> None:
        """Starts rows and adds them to the batch."""
        rows = self.split(self._start, rows)
        self.live = rows if self.live is None else Rows.join([self.live, rows])
        self.age = np.concatenate([self.age, np.zeros(len(rows), dtype=np.int64)])

    def _part(self, leaving: npt.NDArray[np.bool_]) -> Rows:
        """Takes the rows marked `leaving` out of the batch and returns them."""
        assert self.live is not None
        out, stay = (torch.from_numpy(np.flatnonzero(m)).to(self.live.x.device) for m in (leaving, ~leaving))
        gone, self.age = self.live.take(out), self.age[~leaving]
        self.live = self.live.take(stay) if len(stay) else None
        return gone

    def _leave_at_end(self, ended: npt.NDArray[np.bool_]) -> Iterator[Rows]:
        """Judges the last proposal of rows that made all their steps; the unbroken start again or are done."""
        rows = self.split(self._last_look, self._part(ended))
        again = ~rows.broken & (rows.restart + 1 < self.attack.starts)
        if bool(again.any()):
            survivors = rows.take(again)
            self._join(survivors.keep(*_KEPT).having(restart=survivors.restart + 1))
            rows = rows.take(~again)
        if len(rows):
            yield _result(rows)

    def _leave_when_broken(self, live: Rows) -> Iterator[Rows]:
        """Takes broken rows out once an eighth of the batch is broken."""
        broken = live.broken.cpu().numpy()
        if broken.sum() >= max(1, len(broken) // 8):
            yield _result(self._part(broken))

    def _start(self, rows: Rows) -> Rows:
        before = self.classifier.tally.forwards
        rows = self.attack.start(self.problem, rows)
        spent = (self.classifier.tally.forwards - before) // len(rows)
        return rows.having(step=torch.zeros_like(rows.step), queries=rows.queries + spent)

    def _step(self, rows: Rows) -> Rows:
        point, before = rows.x_adv, self.classifier.tally.forwards
        moved = self.attack.step(self.problem, rows)
        spent = (self.classifier.tally.forwards - before) // len(rows)
        return self._look(moved, point, spent).having(step=rows.step + 1)

    def _last_look(self, rows: Rows) -> Rows:
        return self._look(rows.having(logits=self.classifier.logits(rows.x_adv).detach()), rows.x_adv, 1)

    def _look(self, rows: Rows, point: Tensor, spent: int) -> Rows:
        """Notes for every row not yet broken whether `point`, where `logits` were seen, breaks it or comes nearer."""
        logits = rows.logits.double()
        gap, _ = margin(logits, rows.goal)
        # Scores that are not numbers are no prediction: untargeted they count as wrong, targeted as a miss.
        predicted_goal = (logits.argmax(dim=1) == rows.goal) & ~gap.isnan()
        gap = gap.nan_to_num(_FAR, _FAR, -_FAR)
        gap, hit = (-gap, predicted_goal) if self.problem.targeted else (gap, ~predicted_goal)
        unbroken = ~rows.broken
        better = unbroken & (hit | (gap > rows.margin))
        best_margin = torch.where(better, gap, rows.margin)
        # A row that breaks leaves its last value in the path for all later looks; the others add theirs each time.
        look = rows.restart * (self.attack.steps_per_start + 1) + rows.step
        self._path[0].index_add_(0, look, torch.where(unbroken & ~hit, best_margin, 0))
        self._path[1].index_add_(0, look, torch.where(unbroken & hit, best_margin, 0))
        return rows.without("logits").having(
            best=torch.where(per_row(better, point), point, rows.best),
            margin=best_margin,
            broken=rows.broken | hit,
            steps=rows.steps + unbroken,
            queries=rows.queries + unbroken * spent,
        )


def _result(rows: Rows) -> Rows:
    return rows.having(x_adv=rows.best).keep(*_RESULT)


def craft(
    attack: Attack,
    classifier: Classifier,
    x: Tensor,
    goal: Tensor,
    ids: Tensor,
    seed: int,
    start: Tensor | None = None,
) -> Tensor:
    """Returns the last point of an attack that makes all its steps on every row: the inner maximisation of training.

    Args:
        attack: The attack; only its first start is used.
        classifier: Already inside its `frozen()` context.
        x: Clean inputs (N, ...).
        goal: Labels (N,), or whatever the loss of the attack compares the logits with.
        ids: Sample ids (N,).
        seed: A number that differs in every epoch, so that random starts do.
        start: Where to begin instead of where the attack would; brought inside the threat first.
    """
    engine = Engine(attack, classifier, seed=seed, batch_size=len(x))
    engine.submit(x, ids, goal)
    rows = engine._blank(engine.waiting.pop())
    if start is None:
        rows = attack.start(engine.problem, rows)
    else:
        rows = rows.having(x_adv=engine.problem.threat.project(start, rows.x, rows.lower, rows.upper))
    for step in range(attack.steps_per_start):
        rows = attack.step(engine.problem, rows.having(step=torch.full_like(rows.step, step)))
    return rows.x_adv.detach()
