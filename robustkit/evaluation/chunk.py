"""One chunk of the data: the clean pass, every attack, the fresh pass over what they found, and the ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.attacks.engine import Engine
from robustkit.attacks.rows import Rows
from robustkit.data.dataset import Batch, samples_sum
from robustkit.data.labels import as_labels
from robustkit.evaluation.attack_run import AttackRun, Cost
from robustkit.evaluation.outcome import Judge
from robustkit.evaluation.part import Part, Setup
from robustkit.evaluation.progress import Progress
from robustkit.maths.calibration import columns
from robustkit.maths.exact_sums import ExactSums
from robustkit.maths.losses import lead
from robustkit.model.classifier import Classifier


class Chunk:
    """Takes chunks of the data, one after the other, through the clean pass and every attack.

    Args:
        setup: Of the evaluation.
        classifier: The model, which has the last word.
        search: What the attacks search on: the model or its faster copy.
        batch_size: Rows the model sees at once; halved for good when memory runs out.
        progress: Whom to tell after every piece of work.
    """

    def __init__(
        self,
        setup: Setup,
        classifier: Classifier,
        search: Classifier,
        batch_size: int,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.setup, self.classifier, self.search = setup, classifier, search
        self.batch_size, self.progress = batch_size, progress
        self.stored = setup.threat.stored

    def run(self, batch: Batch, place: int, part: Part) -> Part:
        """Returns what the attacks do to some samples.

        Args:
            batch: The samples.
            place: Of the first of them among all.
            part: An empty one, which is filled.
        """
        self.part, self.done = part, 0
        self.judge = Judge(self.classifier, self.setup.threat, self.setup.seed, self.batch_size)
        with self.classifier.frozen():
            x = self.classifier.accept(batch.x)
            y = as_labels(batch.y, self.setup.num_classes).to(self.classifier.device)
            ids, every = batch.ids.to(self.classifier.device), slice(0, len(x))
            with self.classifier.checked():
                clean = self.judge(x, ids)
            self.on_grid = self.stored is not None and x.ndim > 2 and bool(self.stored.on_grid(x).all())
            part.ledger.write(part.ledger.extend(len(x), batch.names), id=batch.ids, label=y.cpu())
            part.clean_bins.add(*self._enter_outcome("clean_", y, clean))
            self._tell("clean", len(x))
            robust, worst, engines = clean.argmax(1) == y, Worst(x, clean, y), self._engines()
            for index, engine in enumerate(engines):
                self._attack(index, engine, x, y, ids, robust, worst)
        self.batch_size = min([self.batch_size, *(engine.split.size for engine in engines)])
        part.attacked_bins.add(*self._enter_outcome("worst_", y, worst.logits))
        part.ledger.write(every, worst_attack=worst.attack.cpu())
        if part.gallery:
            part.gallery.offer(part.ledger, every, x, worst.x_adv)
            part.gallery.add_saliency(self.judge.problem)
        if part.evidence:
            part.evidence.settle(ids, worst.attack, worst.x_adv)
        places = np.arange(place, place + len(x))
        return dataclasses.replace(part, places=places, on_grid=self.on_grid, data_sum=samples_sum(x, y, batch.ids))

    def _engines(self) -> list[Engine]:
        """Returns one engine per attack."""
        return [
            Engine(
                run.attack,
                self.search,
                seed=self.setup.seed,
                batch_size=self.batch_size,
                targeted=run.attack.targeted,
                nearest=run.attack.minimal and not self.setup.protocol.cascade,
            )
            for run in self.part.runs
        ]

    def _attack(
        self, index: int, engine: Engine, x: Tensor, y: Tensor, ids: Tensor, robust: Tensor, worst: Worst
    ) -> None:
        """Runs one attack on the samples that are `robust` so far, and in a cascade takes those it breaks out."""
        run, cost = self.part.runs[index], Cost(self.classifier, self.part.runs[index])
        attacked = robust.nonzero().squeeze(1)
        margins = () if run.attack.targeted else (worst.clean_margin[attacked], worst.margin[attacked])
        engine.submit(x[attacked], ids[attacked], run.attack.goal(y[attacked]), *margins)
        for rows in engine.run(drain=True):
            engine.problem.whole.verify(rows.x_adv, rows.x, run.label)
            at = attacked[rows.position]
            logits = self.judge(rows.x_adv, ids[at])
            worst.update(index, at, y[at], logits, rows.x_adv)
            broken = self._enter(run, at.cpu().numpy(), rows, y[at], ids[at], logits)
            if self.part.evidence:
                changed = broken | (logits.argmax(1) != y[at])
                self.part.evidence.add(run.label, ids[at[changed]], rows.x_adv[changed])
            if self.setup.protocol.cascade:
                robust[at[broken]] = False
            self._tell(run.label, len(rows))
        self._tell(run.label, len(x) - len(attacked))
        sums = engine.path_sums().tolist()
        run.path, run.rows = ExactSums(len(sums)), engine.submitted
        run.path.add(sums)
        cost.book()

    def _enter_outcome(self, prefix: str, y: Tensor, logits: Tensor) -> tuple[Any, Any, bool]:
        """Enters prediction and calibration columns; returns what classwise calibration is made of."""
        one_vs_rest = self.classifier.one_vs_rest
        probabilities, targets = self.classifier.probabilities(logits).cpu().numpy(), y.cpu().numpy()
        figures = columns(probabilities, targets, one_vs_rest)
        self.part.ledger.write(
            slice(0, len(y)),
            prefix,
            prediction=logits.argmax(1).cpu(),
            confidence=figures.confidence,
            nll=figures.nll,
            brier=figures.brier,
        )
        return probabilities, targets, one_vs_rest

    def _enter(self, run: AttackRun, where: Any, rows: Rows, y: Tensor, ids: Tensor, logits: Tensor) -> Tensor:
        """Writes what an attack found into the ledger and returns which rows reached its goal."""
        hit = self.judge.broken(logits, y)
        run.rechecked_changes += int((hit != rows.broken).sum())
        self.part.ledger.write(
            where,
            f"{run.label}/",
            prediction=logits.argmax(1).cpu(),
            confidence=self.classifier.probabilities(logits).amax(dim=1).cpu(),
            margin=lead(logits, y).cpu(),
            distance=self.setup.threat.distance(rows.x_adv, rows.x).cpu(),
            steps=rows.steps.cpu(),
            queries=rows.queries.cpu(),
        )
        if self.setup.threat.schema is not None:
            lost = ~hit & (rows.relaxed >= 0)
            self.part.ledger.write(
                where, f"{run.label}/", relaxed_prediction=torch.where(lost, rows.relaxed, logits.argmax(1)).cpu()
            )
        if self.stored is not None and self.on_grid:
            stored = self.judge(self.stored.snap(rows.x_adv, rows.x), ids)
            self.part.ledger.write(where, f"{run.label}/", stored_prediction=stored.argmax(1).cpu())
        return hit

    def _tell(self, stage: str, visits: int) -> None:
        self.done += visits
        if self.progress:
            self.progress(Progress(stage, self.done, None, int(self.part.ledger.unbroken.sum()), len(self.part.ledger)))


class Worst:
    """For each sample of a chunk the worst point so far and its logits: at first the clean ones."""

    def __init__(self, x: Tensor, clean: Tensor, y: Tensor) -> None:
        self.x_adv, self.logits, self.clean_margin = x.clone(), clean.clone(), lead(clean, y)
        self.margin = torch.full_like(clean[:, 0], -torch.inf)
        self.attack = torch.full_like(self.margin, -1, dtype=torch.int64)

    def update(self, attack: int, at: Tensor, y: Tensor, logits: Tensor, x_adv: Tensor) -> None:
        """Notes the results of one attack for the samples `at` where they are worse than what is known."""
        gap = lead(logits, y)
        worse = gap > self.margin[at]
        at = at[worse]
        self.x_adv[at], self.logits[at], self.margin[at], self.attack[at] = (
            x_adv[worse],
            logits[worse],
            gap[worse],
            attack,
        )
