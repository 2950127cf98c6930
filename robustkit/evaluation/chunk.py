"""One running evaluation: the clean pass, the attacks, the fresh pass over what they found, and the ledger."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from robustkit.attacks.base import Attack
from robustkit.attacks.engine import Engine
from robustkit.attacks.protocols import Protocol
from robustkit.attacks.rows import Rows
from robustkit.attacks.threat import STORED, Threat
from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import Batch, samples_sum
from robustkit.data.labels import as_labels
from robustkit.evaluation.attack_run import AttackRun
from robustkit.evaluation.evidence import Evidence
from robustkit.evaluation.gallery import Gallery
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.progress import Progress
from robustkit.evaluation.recheck import Judge
from robustkit.maths.calibration import ClasswiseBins, columns
from robustkit.maths.exact_sums import ExactSums
from robustkit.maths.losses import lead
from robustkit.model.classifier import Classifier


class Bench:
    """The evaluation of one piece: the ledger, one engine per attack, and what is kept of the samples.

    Attacks search on `search`, the model or its faster copy.
    """

    clean_bins: ClasswiseBins
    attacked_bins: ClasswiseBins
    gallery: Gallery

    def __init__(
        self,
        classifier: Classifier,
        protocol: Protocol,
        batch_size: int,
        seed: int,
        search: Classifier,
        progress: Callable[[Progress], None] | None,
        examples: int,
        evidence: bool = False,
    ) -> None:
        attacks = protocol.attacks
        self.classifier, self.progress = classifier, progress
        self.threat = common_threat(attacks, classifier)
        self.stored = dataclasses.replace(self.threat, levels=STORED)
        self.on_grid = True
        self.runs = [AttackRun(attack, label) for attack, label in zip(attacks, labels(attacks), strict=True)]
        self.engines: list[Engine] = []
        self.judge = Judge(classifier, self.threat, seed, batch_size)
        self.evidence = Evidence([run.label for run in self.runs]) if evidence else None
        self.ledger = Ledger(run.label for run in self.runs)
        self.room = examples
        self.search = search
        self.batch_size, self.seed, self.protocol = batch_size, seed, protocol
        self.done = 0
        self.data_sum = 0

    def work(self, batch: Batch) -> None:
        """Takes some samples through the clean pass and every attack."""
        with self.classifier.frozen():
            x = self.classifier.accept(batch.x)
            y = as_labels(batch.y, self.classifier.classes(x[:1])).to(self.classifier.device)
            self.data_sum += samples_sum(x, y, batch.ids)
            ids = batch.ids.to(self.classifier.device)
            clean = self.judge(x, ids)
            self.on_grid = self.on_grid and x.ndim > 2 and bool(self.stored.on_grid(x).all())
            where = self._enter_clean(batch, y, clean)
            self._report("clean", len(x))
            if not self.engines:
                self.engines = self._engines(self.search)
            standing = clean.argmax(1) == y
            worst, leads = Worst(x, clean), lead(clean, y)
            for index, (run, engine) in enumerate(zip(self.runs, self.engines, strict=True)):
                cost = Cost(self.classifier, run)
                first = engine.submitted
                attacked = standing.nonzero().squeeze(1)
                margins = () if run.attack.targeted else (leads[attacked], worst.margin[attacked])
                engine.submit(x[attacked], ids[attacked], run.attack.goal(y[attacked]), *margins)
                for rows in engine.run(drain=True):
                    engine.problem.threat.verify(rows.x_adv, rows.x, run.label)
                    at = attacked[rows.position - first]
                    logits = self.judge(rows.x_adv, ids[at])
                    worst.update(index, at, y[at], logits, rows.x_adv)
                    broken = self._enter(run, where.start + at.cpu().numpy(), rows, y[at], ids[at], logits)
                    if self.evidence:
                        changed = broken | (logits.argmax(1) != y[at])
                        self.evidence.add(run.label, ids[at[changed]], rows.x_adv[changed])
                    if self.protocol.cascade:
                        standing[at[broken]] = False
                    self._report(run.label, len(rows))
                self._report(run.label, len(x) - len(attacked))
                cost.book()
        self.attacked_bins.add(*self._write(where, "worst_", y, worst.logits))
        self.ledger.write(where, worst_attack=worst.attack.cpu())
        self.gallery.offer(self.ledger, where, x, worst.x_adv)
        if self.evidence:
            self.evidence.settle(ids, worst.attack, worst.x_adv)

    def _engines(self, classifier: Classifier) -> list[Engine]:
        """Returns one engine per attack that searches on `classifier`, the model or its faster copy."""
        return [
            Engine(
                run.attack,
                classifier,
                seed=self.seed,
                batch_size=self.batch_size,
                targeted=run.attack.targeted,
                nearest=run.attack.minimal and not self.protocol.cascade,
            )
            for run in self.runs
        ]

    @property
    def fits(self) -> int:
        """How many rows fit into memory, as far as is known."""
        return min([self.batch_size, *(engine.split.size for engine in self.engines)])

    def finished_runs(self) -> Iterator[AttackRun]:
        """Yields what is known of each attack at the end."""
        for run, engine in zip(self.runs, self.engines, strict=True):
            sums = engine.path_sums().tolist()
            run.path, run.rows = ExactSums(len(sums)), engine.submitted
            run.path.add(sums)
            yield run

    def _enter_clean(self, batch: Batch, y: Tensor, logits: Tensor) -> slice:
        if not len(self.ledger):
            self.clean_bins, self.attacked_bins = ClasswiseBins(logits.shape[1]), ClasswiseBins(logits.shape[1])
            self.gallery = Gallery(self.room, logits.shape[1])
        where = self.ledger.extend(len(y), batch.names)
        self.ledger.write(where, id=batch.ids, label=y.cpu())
        self.clean_bins.add(*self._write(where, "clean_", y, logits))
        return where

    def _write(self, where: slice, prefix: str, y: Tensor, logits: Tensor) -> tuple[Any, Any]:
        """Enters prediction and calibration columns; returns probabilities and labels."""
        probabilities, targets = logits.softmax(dim=1).cpu().numpy(), y.cpu().numpy()
        figures = columns(probabilities, targets)
        self.ledger.write(
            where,
            prefix,
            prediction=logits.argmax(1).cpu(),
            confidence=figures.confidence,
            nll=figures.nll,
            brier=figures.brier,
        )
        return probabilities, targets

    def _enter(self, run: AttackRun, where: Any, rows: Rows, y: Tensor, ids: Tensor, logits: Tensor) -> Tensor:
        """Writes what an attack found into the ledger and returns which rows reached its goal."""
        predicted = logits.argmax(1)
        hit = predicted == self.threat.target if self.threat.target is not None else predicted != y
        run.rechecked_changes += int((hit != rows.broken).sum())
        self.ledger.write(
            where,
            f"{run.label}/",
            prediction=predicted.cpu(),
            confidence=logits.softmax(dim=1).amax(dim=1).cpu(),
            margin=lead(logits, y).cpu(),
            distance=self.threat.distance(rows.x_adv, rows.x).cpu(),
            steps=rows.steps.cpu(),
            queries=rows.queries.cpu(),
        )
        if self.on_grid:
            stored = self.judge(self.stored.snap(rows.x_adv, rows.x), ids)
            self.ledger.write(where, f"{run.label}/", stored_prediction=stored.argmax(1).cpu())
        return hit

    def _report(self, stage: str, visits: int) -> None:
        self.done += visits
        if self.progress:
            self.progress(Progress(stage, self.done, None, int(self.ledger.standing.sum()), len(self.ledger)))


class Worst:
    """For each sample of a chunk the worst point so far and its logits: at first the clean ones."""

    def __init__(self, x: Tensor, clean: Tensor) -> None:
        self.x_adv, self.logits = x.clone(), clean.clone()
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


class Cost:
    """What an attack spends between construction and `book`."""

    def __init__(self, classifier: Classifier, run: AttackRun) -> None:
        self.tally, self.run = classifier.tally, run
        self.before, self.start = self._counts(), time.perf_counter()

    def _counts(self) -> list[int]:
        tally = self.tally
        return [tally.forwards, tally.backwards, int(tally.zero_gradients), int(tally.nonfinite_gradients)]

    def book(self) -> None:
        """Adds it to the run."""
        forwards, backwards, zero, bad = (now - then for now, then in zip(self._counts(), self.before, strict=True))
        self.run.forwards += forwards
        self.run.backwards += backwards
        self.run.zero_gradients += zero
        self.run.nonfinite_gradients += bad
        self.run.seconds += time.perf_counter() - self.start


def common_threat(attacks: Sequence[Attack], classifier: Classifier) -> Threat:
    """Returns the threat all attacks share.

    Raises:
        ConfigurationError: If there is none.
    """
    if not attacks:
        raise ConfigurationError("evaluate: expected at least one attack, got none; for example PGD(eps='8/255')")
    if attacks[0].close is not None:
        raise ConfigurationError(
            f"evaluate: expected an attack before {attacks[0].label} that tells which samples are close, got none; put"
            " one there, or leave close out"
        )
    first, *others = (attack.threat(classifier) for attack in attacks)
    for other in others:
        if (other.norm, other.radius, other.target) != (first.norm, first.radius, first.target):
            raise ConfigurationError(
                f"evaluate: expected attacks of one threat, got {first.norm} {first.eps} and {other.norm} {other.eps}"
                f" (targets {first.target} and {other.target}); evaluate each threat by itself"
            )
    return first


def labels(attacks: Sequence[Attack]) -> list[str]:
    """Returns a distinct label for each attack: its own, with the settings that tell it from its namesakes.

    Raises:
        ConfigurationError: If two attacks are equal.
    """
    found = []
    for attack in attacks:
        name = _name(attack)
        others = [other.settings() for other in attacks if _name(other) == name and other is not attack]
        apart = [f"{k}={v}" for k, v in attack.settings().items() if any(other.get(k) != v for other in others)]
        found.append(f"{name}({','.join(apart)})" if others else name)
    if len(set(found)) < len(found):
        twice = Counter(found).most_common(1)[0][0]
        raise ConfigurationError(f"evaluate: expected distinct attacks, got {twice} more than once; drop one")
    return found


def _name(attack: Attack) -> str:
    return attack.label if attack.close is None else f"{attack.label}-close"
