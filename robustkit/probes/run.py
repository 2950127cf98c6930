"""Probes: after the attacks, experiments on a few samples that test whether the attacks were strong enough.

The samples are chosen by id, so that neither order nor batch size matters.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.base.processes import ranks
from robustkit.base.settings import integer
from robustkit.checks.duplicates import Copies
from robustkit.data.dataset import Batch
from robustkit.data.labels import as_labels
from robustkit.evaluation.part_files import Pieces
from robustkit.evaluation.result import Evaluation
from robustkit.evaluation.schedule import Meter
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier
from robustkit.probes.catalogue import PROBES
from robustkit.probes.samples import Outcome, Subset


class Probes:
    """Collects the samples while an evaluation runs, and runs the probes when it is done.

    Args:
        classifier: The model.
        seed: Of the evaluation.
        room: How many samples to keep: those that come first in a random order of ids.
        tuning: Data the model was tuned on, or their hash; see `Copies.diagnostic`.
        later: Do nothing now: shards are probed together, when they are merged.

    Raises:
        ConfigurationError: If `room` is negative.
    """

    def __init__(self, classifier: Classifier, seed: int, room: int, tuning: Any = None, later: bool = False) -> None:
        self.classifier, self.seed, self.tuning = classifier, seed, tuning
        self.room = room = integer("evaluate", "probes", room, 0)
        self.wanted = (bool(room) or tuning is not None) and not later
        self.copies = Copies()
        self.kept: list[tuple[float, int, Tensor, int, int]] = []  # rank, id, x, y, place in the data
        self.seconds = 0.0

    def visits(self, size: int | None) -> int:
        """Returns how often samples are visited in the end, of `size` in all."""
        return len(PROBES) * min(self.room, size or 0)

    def offer(self, batch: Batch, first: int) -> None:
        """Looks at samples, of which the first has the place `first` among all."""
        if not self.wanted:
            return
        start = time.perf_counter()
        x = self.classifier.accept(batch.x)
        self.copies.add(x, batch)
        ids = batch.ids.cpu()
        zero = torch.zeros_like(ids)
        rank = Stream(self.seed, "probes").uniform((1,), ids, zero, zero).flatten().tolist()
        most = self.kept[-1][0] if len(self.kept) == self.room and self.kept else math.inf
        fresh = [i for i in range(len(ids)) if rank[i] <= most] if self.room else []
        labels = as_labels(batch.y).tolist()
        new = [(rank[i], int(ids[i]), x[i].cpu(), labels[i], first + i) for i in fresh]
        self.kept = sorted([*self.kept, *new], key=lambda item: item[:2])[: self.room]
        self.seconds += time.perf_counter() - start

    def run(
        self,
        evaluation: Evaluation,
        batch_size: int,
        meter: Meter,
        folder: str | Path | None = None,
        finished: Sequence[str | Path] = (),
    ) -> Evaluation:
        """Returns the evaluation with what the probes show; the model is left as it was.

        Args:
            evaluation: What the attacks found.
            batch_size: Rows the model sees at once.
            meter: Whom to tell.
            folder: Where finished probes are kept.
            finished: Folders with probes that are taken over.
        """
        if not self.wanted:
            return evaluation
        start = time.perf_counter()
        found, curve = [self.copies.diagnostic(self.classifier, self.tuning, evaluation.data_sha256)], None
        if self.kept:
            here, names = ranks(), ", ".join(probe.name for probe in PROBES)
            about = {"samples": evaluation.data_sha256, "probes": f"{names} of {self.room} samples"}
            own = folder if here.first else None  # all processes find the same
            pieces = Pieces("probes", lambda: evaluation.settings | about, own, finished, here)
            with self.classifier.frozen(), pieces.kept():
                subset = self._subset(evaluation, batch_size)
                for done, probe in enumerate(PROBES, 1):
                    if known := pieces.known(done, subset.batch):
                        outcome = Outcome.unpacked(*known, subset.threat)
                    else:
                        outcome = probe.run(subset)
                        pieces.add(done, *outcome.packed())
                    found += outcome.found
                    curve = outcome.curve or curve
                    meter.finish(f"probe: {probe.name}", done * len(self.kept))
        return dataclasses.replace(
            evaluation,
            found=(*evaluation.found, *found),
            curve=curve,
            probed=len(self.kept),
            probe_seconds=self.seconds + time.perf_counter() - start,
        )

    def _subset(self, evaluation: Evaluation, batch_size: int) -> Subset:
        ledger, device = evaluation.ledger, self.classifier.device
        # On their own, attacks on near-boundary samples would only repeat others.
        runs = [run for run in evaluation.runs if run.attack.close is None]
        place = [item[4] for item in self.kept]
        return Subset(
            classifier=self.classifier,
            threat=evaluation.threat,
            attacks=tuple(run.attack for run in runs),
            broken=tuple(int(ledger.broken_under(run.label).sum()) for run in runs),
            x=torch.stack([item[2] for item in self.kept]).to(device),
            y=torch.tensor([item[3] for item in self.kept], device=device),
            ids=torch.tensor([item[1] for item in self.kept], device="cpu"),
            right=torch.from_numpy(ledger.right[place]).to(device),
            unbroken=torch.from_numpy(_unbroken(evaluation)[place]).to(device),
            predicted=frozenset(ledger["clean_prediction"].tolist()),
            seed=self.seed,
            batch_size=batch_size,
        )


def _unbroken(evaluation: Evaluation) -> Any:
    """Returns which samples of the ledger are right and were not brought to the goal of any attack."""
    ledger, target = evaluation.ledger, evaluation.threat.target
    if target is None:
        return ledger.robust
    reached = np.any([ledger[f"{label}/prediction"] == target for label in ledger.attacks], axis=0)
    return ledger.right & (ledger["label"] != target) & ~reached
