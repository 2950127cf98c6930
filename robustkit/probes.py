"""Probes: after the attacks, experiments on a few samples that show whether these could have found what is there.

The samples are chosen by id, so that neither order nor batch size matters.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.bench import Bench, Progress
from robustkit.copies import Copies
from robustkit.curve import Curve
from robustkit.data import Batch
from robustkit.diagnostics import Diagnostic
from robustkit.errors import ConfigurationError
from robustkit.experiments import EXPERIMENTS
from robustkit.rng import Stream
from robustkit.subset import Subset


@dataclass(frozen=True)
class Probed:
    """What the probes found.

    Attributes:
        found: The checks.
        curve: Robust accuracy by radius on the samples of the probes, 0 and the whole box included.
        n: How many samples they looked at.
        seconds: How long it took.
    """

    found: tuple[Diagnostic, ...] = ()
    curve: Curve | None = None
    n: int = 0
    seconds: float = 0.0


class Probes:
    """Collects the samples while an evaluation runs, and experiments on them when it is done.

    Args:
        bench: The running evaluation.
        room: How many samples to keep: those that come first in a random order of ids.
        tuning: Data the model was tuned on, or their hash; see `Copies.diagnostic`.

    Raises:
        ConfigurationError: If `room` is negative.
    """

    def __init__(self, bench: Bench, room: int, tuning: Any = None) -> None:
        if room < 0:
            raise ConfigurationError(f"evaluate: expected probes >= 0, got {room}; 64 are enough, 0 leaves them out")
        self.bench, self.room, self.tuning = bench, room, tuning
        self.copies = Copies()
        self.kept: list[tuple[float, int, Tensor, int, int]] = []  # rank, id, x, y, place in the ledger
        self.seconds = 0.0

    @property
    def stages(self) -> int:
        """How many pieces of work there will be, each with all samples kept."""
        return len(EXPERIMENTS) if self.room else 0

    def offer(self, batch: Batch) -> None:
        """Looks at samples that all attacks are done with: the last ones of the ledger."""
        start = time.perf_counter()
        x = self.bench.classifier.accept(batch.x)
        self.copies.add(x, batch)
        ids = batch.ids.cpu()
        zero = torch.zeros_like(ids)
        rank = Stream(self.bench.seed, "probes").uniform((1,), ids, zero, zero).flatten().tolist()
        first = len(self.bench.ledger) - len(ids)
        most = self.kept[-1][0] if len(self.kept) == self.room and self.kept else math.inf
        fresh = [i for i in range(len(ids)) if rank[i] <= most] if self.room else []
        labels = self.bench.ledger["label"]
        new = [(rank[i], int(ids[i]), x[i].cpu(), int(labels[first + i]), first + i) for i in fresh]
        self.kept = sorted([*self.kept, *new], key=lambda item: item[:2])[: self.room]
        self.seconds += time.perf_counter() - start

    def run(self) -> Probed:
        """Returns what the experiments show; the model is left as it was."""
        start, bench = time.perf_counter(), self.bench
        found, curve = [self.copies.diagnostic(bench.classifier, self.tuning, bench.data_sha256)], None
        if self.kept:
            with bench.classifier.frozen():
                subset = self._subset()
                for experiment in EXPERIMENTS:
                    outcome = experiment.run(subset)
                    found += outcome.found
                    curve = outcome.curve or curve
                    self._tell(experiment.name)
        return Probed(tuple(found), curve, len(self.kept), self.seconds + time.perf_counter() - start)

    def _subset(self) -> Subset:
        bench, ledger = self.bench, self.bench.ledger
        place = [item[4] for item in self.kept]
        device = bench.classifier.device
        return Subset(
            classifier=bench.classifier,
            threat=bench.threat,
            attacks=bench.protocol.attacks,
            broken=tuple(int(ledger.broken_under(run.label).sum()) for run in bench.runs),
            x=torch.stack([item[2] for item in self.kept]).to(device),
            y=torch.tensor([item[3] for item in self.kept], device=device),
            ids=torch.tensor([item[1] for item in self.kept]),
            right=torch.from_numpy(ledger.right[place]).to(device),
            standing=torch.from_numpy(_standing(bench)[place]).to(device),
            predicted=frozenset(ledger["clean_prediction"].tolist()),
            seed=bench.seed,
            batch_size=bench.batch_size,
        )

    def _tell(self, name: str) -> None:
        bench = self.bench
        bench.done += len(self.kept)
        if bench.progress:
            robust, seen = int(bench.ledger.standing.sum()), len(bench.ledger)
            bench.progress(Progress(f"probe: {name}", bench.done, bench.total, robust, seen))


def _standing(bench: Bench) -> Any:
    """Returns which samples of the ledger are right and were not brought to the goal of any attack."""
    ledger, target = bench.ledger, bench.threat.target
    if target is None:
        return ledger.robust
    reached = np.any([ledger[f"{label}/prediction"] == target for label in ledger.attacks], axis=0)
    return ledger.right & (ledger["label"] != target) & ~reached
