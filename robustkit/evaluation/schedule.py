"""How an evaluation is cut: pieces that go through all attacks together, and who does which of them."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from robustkit.base.errors import ConfigurationError
from robustkit.base.processes import Ranks
from robustkit.base.settings import plain, wrong
from robustkit.data.dataset import Batch, Dataset, batches
from robustkit.data.sampling import at_places
from robustkit.evaluation.early_stopping import EarlyStopping
from robustkit.evaluation.part import Part
from robustkit.evaluation.progress import Progress

logger = logging.getLogger("robustkit")
FIRST = 16  # samples to begin with where the run may stop early
CHUNK = 4  # most batches that go through all attacks together; the only samples in memory at any time
FEWEST = 2  # pieces that small data are cut into, if they fill more than a batch, so that several can share them


class Meter:
    """How far the whole evaluation is, from what its chunks say about themselves.

    Args:
        progress: Whom to tell.
        stages: How often every sample is visited.
        extra: How many visits follow at the end.
    """

    def __init__(self, progress: Callable[[Progress], None] | None, stages: int, extra: int = 0) -> None:
        self.progress, self.stages, self.extra = progress, stages, extra
        self.total: int | None = None  # visits
        self.begun = time.monotonic()
        self.robust = self.seen = 0
        self.earlier = 0.0  # seconds that a run took from which this one resumes

    @property
    def seconds(self) -> float:
        """Time since it was made."""
        return time.monotonic() - self.begun

    def tell(self, now: Progress) -> None:
        """Passes on what the current piece says."""
        if self.progress:
            done, robust, seen = now.done + self.seen * self.stages, now.robust + self.robust, now.seen + self.seen
            self.progress(Progress(now.stage, done, self.total, robust, seen))

    def finish(self, stage: str, visits: int) -> None:
        """Says that so many of the visits at the end are made."""
        self.tell(Progress(stage, visits, None, 0, 0))

    def begin(self, kept: Sequence[Part], rows: int | None) -> None:
        """Notes what is done already and how many samples are still to do, if known."""
        for part in kept:
            self.add(part)
            self.earlier += part.seconds
        self.total = None if rows is None else (self.seen + rows) * self.stages + self.extra

    def add(self, part: Part) -> None:
        """Notes a finished piece."""
        self.robust, self.seen = self.robust + int(part.ledger.robust.sum()), self.seen + len(part.ledger)


class Share:
    """Which pieces are done here: every `count`-th of those that nobody has done.

    The pieces themselves depend on data and batch size alone, never on who does them, and each is done in the same
    way by whomever: so the results of many put together are those of one, to the last bit.

    Args:
        shard: A share of all pieces by hand, as (index from 0, count); otherwise the processes of `here` share them.
        here: This process.
        stopping: Of the evaluation.

    Raises:
        ConfigurationError: If there is no such share, or whether to go on depends on all samples so far.
    """

    def __init__(self, shard: tuple[int, int] | None, here: Ranks, stopping: EarlyStopping) -> None:
        self.by_hand = shard is not None
        self.index, self.count = here.rank, here.count
        self.early = stopping.early
        self.turn = self.total = 0  # how many samples there are, which is known at the end
        if shard is not None:
            given = tuple(map(plain, shard)) if isinstance(shard, tuple | list) else ()
            if [type(part) for part in given] != [int, int] or not 0 <= given[0] < given[1]:
                raise wrong("evaluate", "a shard", shard, "(index, count) with 0 <= index < count")
            self.index, self.count = given
        if self.by_hand and here.count > 1:
            raise ConfigurationError("evaluate: expected a shard or several processes, got both; leave one of them out")
        if stopping.early and self.count > 1:
            raise ConfigurationError(
                "evaluate: expected all samples where they are shared, got until or budget, which decide after every"
                " piece whether to go on; run it in one process"
            )

    def mine(self, known: bool) -> bool:
        """Returns whether the next piece is to be done here, where `known` says that it has been done before."""
        turn, self.turn = self.turn, self.turn + (self.by_hand or not known)
        return not known and turn % self.count == self.index

    def read(
        self, dataset: Dataset, stream: Iterable[Batch], size: int | None, batch_size: int, known: Collection[int]
    ) -> Iterator[tuple[int, Batch]]:
        """Yields all pieces of the data behind their places; a shard by hand only its own and those that are `known`.

        The others are not even read, where data can be indexed: of many shards each would read everything otherwise.
        """
        most, size = batches_per_piece(size, batch_size), size or 0
        step = most * batch_size
        starts = [start for start in range(0, size, step) if start // step % self.count == self.index or start in known]
        rows = [np.arange(start, min(start + step, size)) for start in starts]
        own = at_places(dataset, np.concatenate([np.arange(0), *rows])) if self.by_hand and size else None
        if own is None:
            for place, piece in placed(stream):
                self.total = place + len(piece)
                yield place, piece
            return
        self.index, self.count, self.total = 0, 1, size
        some = batches(own, batch_size)
        for start in starts:
            yield start, _join([*islice(some, most)])

    def rows(self, size: int | None, batch_size: int, known: Collection[int]) -> int | None:
        """Returns how many of `size` samples are to be done here; those at the places `known` are done."""
        if size is None:
            return None
        if self.early:
            return size - len(known)
        step, ahead = batches_per_piece(size, batch_size) * batch_size, copy.copy(self)
        if self.index == 0 and self.count > (pieces := -(-size // step)):
            logger.warning(
                "evaluate: expected a piece of the data for each of %d shares, got %d of up to %d samples: some have"
                " nothing to do; a smaller batch size cuts more", self.count, pieces, step,
            )  # fmt: skip
        return sum(min(step, size - start) for start in range(0, size, step) if ahead.mine(start in known))


def batches_per_piece(size: int | None, batch_size: int) -> int:
    """Returns how many batches go through all attacks together.

    Many keep the batches of the attacks full to the end, few can be shared by many.

    Args:
        size: How many samples there are, if known.
        batch_size: Rows the model sees at once.
    """
    # One of no samples, too: whoever reads it says that there are none.
    return CHUNK if size is None else min(CHUNK, max(1, -(-size // (FEWEST * batch_size))))


def cut(dataset: Dataset, batch_size: int, size: int | None, stopping: EarlyStopping, meter: Meter) -> Iterator[Batch]:
    """Yields the pieces: a few batches each, or what the stopping says."""
    most = CHUNK * batch_size if stopping.early else batches_per_piece(size, batch_size) * batch_size
    unit = min(batch_size, FIRST) if stopping.early else batch_size
    stream, read = batches(dataset, unit), 0
    while True:
        wanted = most
        if stopping.early:  # samples that an earlier run finished come first: whether to go on was decided then
            more = min(meter.seen - read, most)
            wanted = more or stopping.next(meter.robust, meter.seen, unit, most, meter.earlier)
        held = list(islice(stream, -(-wanted // unit)))
        if not held:
            return
        yield (piece := _join(held))
        read += len(piece)


def _join(parts: list[Batch]) -> Batch:
    x, y, ids = (torch.cat(column) for column in zip(*((p.x, p.y, p.ids) for p in parts), strict=True))
    names = [name for p in parts for name in (p.names or map(str, p.ids.tolist()))]
    return Batch(x, y, ids, names if any(p.names for p in parts) else None)


def placed(stream: Iterable[Batch]) -> Iterator[tuple[int, Batch]]:
    """Yields every batch behind the place of its first sample among all."""
    place = 0
    for batch in stream:
        yield place, batch
        place += len(batch)
