"""The driver of all attacks: it feeds rows in, looks at what they met, and takes them out once they are broken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from robustkit.attacks.best_so_far import Look
from robustkit.attacks.fit_memory import Splitter
from robustkit.attacks.loss_path import LossPath
from robustkit.attacks.rows import Problem, Rows, RowWise
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier

WAVE = 8  # starts of one sample that run side by side, after the first has failed alone
_KEPT = (
    *("x", "ids", "goal", "clean", "rival", "quits", "position"),
    *("lower", "upper", "best", "broken", "margin", "distance"),
    *("restart", "step", "steps", "queries", "steps_before", "queries_before"),
)
_RESULT = ("x", "x_adv", "position", "broken", "margin", "steps", "queries")


class Engine:
    """Runs one attack over a stream of samples with full batches and no more memory than one batch needs.

    Every row depends on its own data and random numbers only, so batch size, order and batch composition do not matter.
    A sample leaves once it is broken and a waiting one takes its place. Broken is decided by the engine, from the
    logits at every point an attack evaluates, and the first broken (else the nearest) point is kept: no success gets
    lost.

    Where an attack starts several times, the first start runs alone, because it breaks most of what can be broken. The
    others follow side by side, `WAVE` at a time and in step, until one of them succeeds: few hard samples then fill a
    batch as well as many. Of several successes at the same step the one with the largest margin counts.

    Args:
        attack: The attack.
        classifier: Already inside its `frozen()` context.
        seed: Seed of the run.
        batch_size: Rows the model sees at once; halved when memory runs out.
        targeted: Whether `goal` in `submit` is the class to reach rather than the one to leave.
        nearest: Let broken rows make all their steps too, and keep the broken point nearest to the clean input; starts
            then follow one another, because a later one may look around what was found.
    """

    def __init__(
        self,
        attack: RowWise,
        classifier: Classifier,
        *,
        seed: int = 0,
        batch_size: int = 256,
        targeted: bool = False,
        nearest: bool = False,
    ) -> None:
        self.attack = attack
        self.classifier = classifier
        self.nearest = nearest
        self.wave = 1 if nearest else WAVE
        self.problem = Problem.under(
            attack.threat(classifier), classifier, Stream(seed, attack.name), targeted, attack.eot, attack.leaves_ball
        )
        self.tabular = self.problem.whole.schema is not None
        self.relaxes = self.tabular and attack.kind == "white-box"  # others see legal records only
        self.told = (*_RESULT, "relaxed") if self.tabular else _RESULT
        self.split = Splitter(batch_size)
        self.live: Rows | None = None
        self.age = np.zeros(0, dtype=np.int64)  # steps of each live row since its start, known without asking the GPU
        self.waiting: deque[Rows] = deque()  # samples not yet begun
        self.again: deque[Rows] = deque()  # samples whose next wave is due
        self.given_up: deque[Rows] = deque()  # samples that are not begun
        self.submitted = 0
        # Looking at the rows of a GPU makes the CPU wait for it, so there it is done every few steps only.
        self.at_hand = classifier.device.type == "cpu"
        self.look_every = 1 if self.at_hand else 8
        self.ticks = 0
        self.side_by_side = attack.starts > 1 and self.wave > 1
        self.look = Look(self.problem, attack.leaves_ball, nearest, self.relaxes)
        self.path = LossPath(attack.starts, attack.steps_per_start, self.wave, classifier.device)

    def submit(
        self, x: Tensor, ids: Tensor, goal: Tensor, clean: Tensor | None = None, rival: Tensor | None = None
    ) -> None:
        """Queues clean rows.

        Args:
            x: Shape (N, ...).
            ids: Their ids (N,).
            goal: The label, or the target if targeted, (N,).
            clean: The margin of `x` (N,); unknown by default.
            rival: The largest margin that other attacks reached (N,); unknown by default.
        """
        device = self.classifier.device
        unknown = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=device)
        clean, rival = (unknown if known is None else known.to(device, torch.float64) for known in (clean, rival))
        position = torch.arange(self.submitted, self.submitted + len(x), device=device)
        self.submitted += len(x)
        x = x.to(device, self.classifier.dtype)
        rows = Rows(
            x=x, ids=ids.to(device, torch.int64), goal=goal.to(device), position=position,
            clean=clean, rival=rival, quits=torch.zeros_like(rival).bool(),
        )  # fmt: skip
        if self.attack.close is not None and not self.nearest:
            rows = self._give_up(rows, rival.isfinite() & (rival < self.attack.close * clean))
        if self.problem.scaled is not None:
            rows = rows.having(x=torch.zeros_like(rows.x), input=rows.x)
        self.waiting.extend(rows.take(slice(i, i + self.split.size)) for i in range(0, len(rows), self.split.size))

    def run(self, drain: bool = False) -> Iterator[Rows]:
        """Yields finished samples as they come: `x, x_adv, position, broken, margin, steps, queries`.

        Of a sample given up from the start, `x_adv` is `x`, and `margin` what it was known to be there.

        Args:
            drain: Run until nothing is left; otherwise stop when the waiting rows no longer fill the batch.
        """
        while self.given_up:
            yield self.given_up.popleft()
        while True:
            work = len(self.age) + sum(map(len, self.waiting)) + sum(map(len, self.again))
            if work == 0 or (work < self.split.size and not drain):
                return
            self._admit()
            ended = self.age == self.attack.steps_per_start
            if ended.any():
                yield from self._leave_at_end(ended)
            elif self.live is not None:
                self.live = self._settle(self.split(self._step, self.live))
                self.age += 1
                self.ticks += 1
                if self.ticks % self.look_every == 0 and not self.nearest:
                    yield from self._leave_when_broken(self.live)

    def loss_path(self) -> list[float]:
        """Returns the mean over all samples of the best margin so far, after each look (waves one after another)."""
        return (self.path_sums() / max(self.submitted, 1)).tolist()

    def path_sums(self) -> Tensor:
        """Returns the sums over all samples of which `loss_path` gives the means."""
        return self.path.sums()

    def _give_up(self, rows: Rows, far: Tensor) -> Rows:
        """Returns the other samples, and keeps those that are `far` (N,) from being begun."""
        gone, none = rows.take(far), torch.zeros_like(rows.position[far])
        if len(gone):
            self.path.leave(gone.clean)
            same = gone.having(
                x_adv=gone.x, broken=none.bool(), margin=gone.clean, steps=none, queries=none, relaxed=none - 1
            )
            self.given_up.append(same.keep(*self.told))
        return rows.take(~far)

    def _admit(self) -> None:
        """Lets waiting samples in once a quarter of the batch is free, first those whose next wave is due."""
        free = self.split.size - len(self.age)
        if self.live is not None and free < max(1, self.split.size // 4):
            return
        while self.again and (free >= self.wave or self.live is None):
            part = self._take(self.again, max(1, free // self.wave))
            part = self._next_wave(part)
            free -= len(part)
            self._join(part)
        fresh: list[Rows] = []
        while self.waiting and free > 0:
            fresh.append(self._take(self.waiting, free))
            free -= len(fresh[-1])
        if fresh:
            self._join(self._blank(Rows.join(fresh)))

    def _take(self, queue: deque[Rows], most: int) -> Rows:
        part = queue.popleft()
        if len(part) > most:
            queue.appendleft(part.take(slice(most, None)))
            part = part.take(slice(most))
        return part

    def _blank(self, rows: Rows) -> Rows:
        """Returns new rows with everything the engine keeps about a row."""
        zero = torch.zeros(len(rows), dtype=torch.int64, device=rows.x.device)
        lower, upper = self.problem.limits(rows)
        return rows.having(
            lower=lower, upper=upper, best=rows.x, restart=zero, step=zero,
            steps=zero, queries=zero, steps_before=zero, queries_before=zero,
            broken=zero.bool(), done=zero.bool(),
            margin=torch.full_like(zero, -torch.inf, dtype=torch.float64),
            distance=torch.full_like(zero, torch.inf, dtype=torch.float64),
            **({"relaxed": zero - 1} if self.tabular else {}),
        )  # fmt: skip

    def _next_wave(self, rows: Rows) -> Rows:
        """Returns for each sample one row per start of its next wave."""
        first = rows.restart + 1
        width = (self.attack.starts - first).clamp(max=self.wave)
        index = torch.arange(len(rows), device=width.device).repeat_interleave(width)
        place = torch.arange(len(index), device=width.device) - (width.cumsum(0) - width)[index]
        zero = torch.zeros_like(index)
        rows = rows.having(steps_before=rows.steps, queries_before=rows.queries).take(index)
        return rows.having(restart=first[index] + place, steps=zero, queries=zero, done=rows.broken)

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
        rows = self._merge(self._settle(self.split(self._last_look, self._part(ended))))
        again = (rows.restart + 1 < self.attack.starts) & (~rows.broken | self.nearest) & ~rows.quits
        if bool(again.any()):
            more = [name for name in ("input", "relaxed") if name in vars(rows)]
            self.again.append(rows.take(again).keep(*_KEPT, *more))
            rows = rows.take(~again)
        if len(rows):
            yield self._result(rows)

    def _leave_when_broken(self, live: Rows) -> Iterator[Rows]:
        """Takes broken samples out once an eighth of the batch is done."""
        done = live.done.cpu().numpy()
        if done.sum() >= max(1, len(done) // 8):
            yield self._result(self._merge(self._part(done)))

    def _merge(self, rows: Rows) -> Rows:
        """Returns one row per sample: of the starts in its wave the one that broke it, else the nearest to it.

        All starts of a wave have made the same steps, so the sample has made as many for each of them.
        """
        if self.attack.starts == 1:
            return rows
        position, restart = rows.position.cpu().numpy(), rows.restart.cpu().numpy()
        broken, gap = rows.broken.cpu().numpy(), rows.margin.cpu().numpy()
        order = np.lexsort((restart, -gap, ~broken, position))
        _, chosen, width = np.unique(position[order], return_index=True, return_counts=True)
        last = np.maximum.reduceat(restart[order], chosen)
        device = rows.x.device
        merged = {"restart": last}
        if self.tabular:
            merged["relaxed"] = np.maximum.reduceat(rows.relaxed.cpu().numpy()[order], chosen)
        rows = rows.take(torch.from_numpy(order[chosen]).to(device))
        many = torch.from_numpy(width).to(device)
        return rows.having(
            **{name: torch.from_numpy(values).to(device) for name, values in merged.items()},
            steps=rows.steps_before + many * rows.steps,
            queries=rows.queries_before + many * rows.queries,
        )

    def _start(self, rows: Rows) -> Rows:
        before = self.classifier.tally.forwards
        rows = self.attack.start(self.problem, rows)
        spent = (self.classifier.tally.forwards - before) // len(rows)
        return rows.having(step=torch.zeros_like(rows.step), queries=rows.queries + spent)

    def _step(self, rows: Rows) -> Rows:
        point, before = rows.x_adv, self.classifier.tally.forwards
        moved = self.attack.step(self.problem, rows)
        spent = (self.classifier.tally.forwards - before) // len(rows)
        return self.look(moved, point, spent)

    def _last_look(self, rows: Rows) -> Rows:
        logits = self.problem.logits(rows, rows.x_adv, self.relaxes)
        return self.look(rows.having(logits=logits), rows.x_adv, self.problem.eot)

    def _settle(self, rows: Rows) -> Rows:
        """Ends all starts of a sample that one of them just broke, and notes what belongs into the path."""
        hit = rows.broken & ~rows.done
        if self.side_by_side and not (self.at_hand and not hit.any()):
            of = rows.position
            ended = torch.zeros(self.submitted, dtype=torch.uint8, device=of.device)
            hit = ended.scatter_reduce(0, of, hit.to(ended.dtype), "amax")[of].bool()
        ends = hit | rows.quits
        self.path.note(rows, ends, self.submitted)
        return rows.having(done=rows.done | ends, step=rows.step + 1)

    def _result(self, rows: Rows) -> Rows:
        """Returns what is told of finished rows, in the units of the inputs."""
        if self.problem.scaled is None:
            return rows.having(x_adv=rows.best).keep(*self.told)
        return rows.having(x=rows.input, x_adv=self.problem.legal(rows, rows.best)).keep(*self.told)
