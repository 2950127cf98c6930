"""The evaluator: streams samples through the doctor, a clean pass and every attack, and writes the ledger."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustkit.attack import Attack
from robustkit.calibration import ClasswiseBins, columns
from robustkit.classifier import Classifier, as_classifier
from robustkit.data import Batch, Dataset, batches
from robustkit.diagnostics import Diagnostic, diagnostic
from robustkit.doctor import examine
from robustkit.engine import Engine, Splitter
from robustkit.errors import ConfigurationError, InvalidEvaluation
from robustkit.evaluation import AttackRun, Evaluation, Example
from robustkit.labels import as_labels
from robustkit.ledger import Ledger
from robustkit.losses import margin
from robustkit.rows import Rows
from robustkit.stats import proportion
from robustkit.threat import Threat

CHUNK = 4  # batches that go through all attacks together; the only samples in memory at any time


@dataclass(frozen=True)
class Progress:
    """Where an evaluation stands: `done` of `total` visits (or None), `robust` of `seen` samples standing."""

    stage: str
    done: int
    total: int | None
    robust: int
    seen: int


def evaluate(
    classifier: Classifier | nn.Module | Callable[[Tensor], Any],
    data: Any,
    attacks: Sequence[Attack],
    *,
    batch_size: int = 256,
    limit: int | None = None,
    seed: int = 0,
    expected_clean_accuracy: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    examples: int = 8,
) -> Evaluation:
    """Returns clean accuracy, accuracy under every attack and their per-sample worst case, with a ledger of all rows.

    Every attack runs on every sample that is right from the start, independently of the others. Each point it returns
    is re-measured against the threat in float64 and classified again in a fresh pass, which decides. Data are
    streamed: besides the ledger only a few batches are in memory. Nothing depends on batch size or order.

    Args:
        classifier: The model; a bare module takes inputs in 0..1 and returns class scores.
        data: Whatever `robustkit.data.batches` reads: a Dataset, a pair (x, y), a loader, any iterable of (x, y[, id]).
        attacks: Attacks of one and the same threat.
        batch_size: Rows the model sees at once; halved when memory runs out.
        limit: Evaluate only the first so many samples.
        seed: Seed of all random numbers, and of the bootstrap.
        expected_clean_accuracy: A fraction that must lie in the 95 % Clopper-Pearson interval of the clean accuracy;
            checked before any attack, so `data` must be readable twice.
        progress: Called with a `Progress` after every piece of work.
        examples: How many broken samples to keep with their adversarial points, one per class first.

    Raises:
        ConfigurationError: If the attacks do not share one threat or an argument cannot be meant.
        InvalidEvaluation: If the doctor refuses data or model, or the clean accuracy is not the expected one.
        ThreatViolation: If an attack left its threat.
    """
    start = time.perf_counter()
    classifier = as_classifier(classifier)
    dataset = data if isinstance(data, Dataset) else Dataset(name="data", source=data, bounds=classifier.bounds)
    if dataset.bounds != classifier.bounds:
        raise ConfigurationError(
            f"evaluate: expected data in the model's bounds {classifier.bounds}, got {dataset.bounds}; make them agree"
        )
    bench = _Bench(classifier, dataset, attacks, batch_size, seed, progress, examples)
    bench.total = _visits(dataset.source, limit, 1 + len(attacks))
    found: list[Diagnostic] = []
    if expected_clean_accuracy is not None:
        found.append(_expect(classifier, dataset, batch_size, limit, expected_clean_accuracy))
    for number, chunk in enumerate(_chunks(batches(dataset, batch_size, limit))):
        if number == 0:
            found += examine(classifier, chunk.x, chunk.y)
        bench.work(chunk)
    return Evaluation(
        ledger=bench.ledger,
        threat=bench.threat,
        runs=tuple(bench.finished_runs()),
        num_classes=classifier.classes(chunk.x[:1]),
        input_shape=tuple(chunk.x.shape[1:]),
        dataset=dataset,
        seed=seed,
        ids_sha256=hashlib.sha256(np.sort(bench.ledger["id"]).tobytes()).hexdigest(),
        data_sha256=bench.data_sha256,
        found=tuple(found),
        clean_bins=bench.clean_bins,
        attacked_bins=bench.attacked_bins,
        examples=tuple(bench.gallery.examples),
        seconds=time.perf_counter() - start,
    )


class _Bench:
    """A running evaluation: the ledger, one engine per attack, and what is kept of the samples."""

    clean_bins: ClasswiseBins
    attacked_bins: ClasswiseBins

    def __init__(
        self,
        classifier: Classifier,
        dataset: Dataset,
        attacks: Sequence[Attack],
        batch_size: int,
        seed: int,
        progress: Callable[[Progress], None] | None,
        examples: int,
    ) -> None:
        self.classifier, self.progress = classifier, progress
        self.threat = common_threat(attacks, classifier)
        self.runs = [AttackRun(attack, label) for attack, label in zip(attacks, labels(attacks), strict=True)]
        self.engines = [
            Engine(attack, classifier, seed=seed, batch_size=batch_size, targeted=attack.targeted) for attack in attacks
        ]
        self.ledger = Ledger(run.label for run in self.runs)
        self.split = Splitter(batch_size)
        self.gallery = _Gallery(examples)
        self.total: int | None = None
        self.done = 0
        self._data_sum = 0

    def work(self, batch: Batch) -> None:
        """Takes some samples through the clean pass and every attack."""
        with self.classifier.frozen():
            x = self.classifier.accept(batch.x)
            y = as_labels(batch.y, self.classifier.classes(x[:1])).to(self.classifier.device)
            self._hash(x, y, batch.ids)
            clean = self.logits(x)
            where = self._enter_clean(batch, y, clean)
            self._report("clean", len(x))
            right = (clean.argmax(1) == y).nonzero().squeeze(1)
            worst = _Worst(clean)
            for index, (run, engine) in enumerate(zip(self.runs, self.engines, strict=True)):
                cost = _Cost(self.classifier, run)
                first = engine.submitted
                engine.submit(x[right], batch.ids[right.cpu()], run.attack.goal(y[right]))
                for rows in engine.run(drain=True):
                    self.threat.verify(rows.x_adv, rows.x, run.label)
                    at = right[rows.position - first]
                    logits = self.logits(rows.x_adv)
                    worst.update(index, at, y[at], logits)
                    self._enter(run, where.start + at.cpu().numpy(), rows, y[at], logits)
                    self.gallery.offer(run.label, self.ledger, where.start + at.cpu().numpy(), rows)
                    self._report(run.label, len(rows))
                self._report(run.label, len(x) - len(right))
                cost.book()
        self.attacked_bins.add(*self._write(where, "worst_", y, worst.logits))
        self.ledger.write(where, worst_attack=worst.attack.cpu())

    def logits(self, x: Tensor) -> Tensor:
        """Returns the float64 logits of a plain pass."""
        with torch.no_grad():
            rows = self.split(lambda part: Rows(logits=self.classifier.logits(part.x)), Rows(x=x))
        return rows.logits.double()

    def finished_runs(self) -> Iterator[AttackRun]:
        """Yields what is known of each attack at the end."""
        for run, engine in zip(self.runs, self.engines, strict=True):
            run.loss_path = tuple(engine.loss_path())
            yield run

    @property
    def data_sha256(self) -> str:
        """Hash over the set of samples: the sum of one hash per sample, so that order does not matter."""
        return hashlib.sha256(self._data_sum.to_bytes(32, "big")).hexdigest()

    def _hash(self, x: Tensor, y: Tensor, ids: Tensor) -> None:
        for row, label, id in zip(x.float().cpu().numpy(), y.tolist(), ids.tolist(), strict=True):
            digest = hashlib.sha256(f"{id}/{label}/".encode() + row.tobytes()).digest()
            self._data_sum = (self._data_sum + int.from_bytes(digest, "big")) % 2**256

    def _enter_clean(self, batch: Batch, y: Tensor, logits: Tensor) -> slice:
        if not len(self.ledger):
            self.clean_bins, self.attacked_bins = ClasswiseBins(logits.shape[1]), ClasswiseBins(logits.shape[1])
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

    def _enter(self, run: AttackRun, where: Any, rows: Rows, y: Tensor, logits: Tensor) -> None:
        predicted = logits.argmax(1)
        hit = predicted == self.threat.target if self.threat.target is not None else predicted != y
        run.rechecked_changes += int((hit != rows.broken).sum())
        self.ledger.write(
            where,
            f"{run.label}/",
            prediction=predicted.cpu(),
            confidence=logits.softmax(dim=1).amax(dim=1).cpu(),
            margin=margin(logits, y)[0].cpu(),
            distance=self.threat.distance(rows.x_adv, rows.x).cpu(),
            steps=rows.steps.cpu(),
            queries=rows.queries.cpu(),
        )

    def _report(self, stage: str, visits: int) -> None:
        self.done += visits
        if self.progress:
            self.progress(Progress(stage, self.done, self.total, int(self.ledger.standing.sum()), len(self.ledger)))


class _Worst:
    """For each sample of a chunk the logits of the worst point so far: at first the clean one."""

    def __init__(self, clean: Tensor) -> None:
        self.logits = clean.clone()
        self.margin = torch.full_like(clean[:, 0], -torch.inf)
        self.attack = torch.full_like(self.margin, -1, dtype=torch.int64)

    def update(self, attack: int, at: Tensor, y: Tensor, logits: Tensor) -> None:
        """Notes the results of one attack for the samples `at` where they are worse than what is known."""
        gap = margin(logits, y)[0]
        worse = gap > self.margin[at]
        at, gap, logits = at[worse], gap[worse], logits[worse]
        self.logits[at], self.margin[at], self.attack[at] = logits, gap, attack


class _Gallery:
    """Keeps broken samples as they come, one per class before a second of any."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.examples: list[Example] = []

    def offer(self, attack: str, ledger: Ledger, where: Any, rows: Rows) -> None:
        """Looks at finished rows; `where` gives their places in the ledger."""
        for row in rows.broken.nonzero().squeeze(1).tolist():
            place = int(where[row])
            label, id = int(ledger["label"][place]), int(ledger["id"][place])
            count = Counter(example.label for example in self.examples)
            if any(example.id == id for example in self.examples):
                continue
            if len(self.examples) == self.room:
                crowded = max(count, key=lambda k: count[k], default=label)
                if count[crowded] <= count[label] + 1:
                    continue
                last = max(i for i, example in enumerate(self.examples) if example.label == crowded)
                del self.examples[last]
            if len(self.examples) < self.room:
                self.examples.append(
                    Example(
                        id=id,
                        label=label,
                        attack=attack,
                        x=rows.x[row].cpu(),
                        x_adv=rows.x_adv[row].cpu(),
                        clean_prediction=int(ledger["clean_prediction"][place]),
                        clean_confidence=float(ledger["clean_confidence"][place]),
                        adversarial_prediction=int(ledger[f"{attack}/prediction"][place]),
                        adversarial_confidence=float(ledger[f"{attack}/confidence"][place]),
                        distance=float(ledger[f"{attack}/distance"][place]),
                    )
                )


class _Cost:
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
    namesakes = Counter(attack.label for attack in attacks)
    found = []
    for attack in attacks:
        others = [other.settings() for other in attacks if other.label == attack.label and other is not attack]
        apart = [f"{k}={v}" for k, v in attack.settings().items() if any(other.get(k) != v for other in others)]
        found.append(f"{attack.label}({','.join(apart)})" if namesakes[attack.label] > 1 else attack.label)
    if len(set(found)) < len(found):
        twice = Counter(found).most_common(1)[0][0]
        raise ConfigurationError(f"evaluate: expected distinct attacks, got {twice} more than once; drop one")
    return found


def _chunks(stream: Iterable[Batch]) -> Iterator[Batch]:
    held: list[Batch] = []
    for batch in stream:
        held.append(batch)
        if len(held) == CHUNK:
            yield _join(held)
            held = []
    if held:
        yield _join(held)


def _join(parts: list[Batch]) -> Batch:
    x, y, ids = (torch.cat(column) for column in zip(*((p.x, p.y, p.ids) for p in parts), strict=True))
    names = [name for p in parts for name in (p.names or map(str, p.ids.tolist()))]
    return Batch(x, y, ids, names if any(p.names for p in parts) else None)


def _visits(source: Any, limit: int | None, stages: int) -> int | None:
    """Returns how many times a sample will be looked at, None where the source does not know its length."""
    if isinstance(source, tuple | list) and len(source) in (2, 3) and hasattr(source[0], "shape"):
        size: int | None = len(source[0])
    else:
        counted = getattr(source, "dataset", source)  # a loader's own length counts batches
        size = len(counted) if isinstance(counted, Sized) else None
    known = [n for n in (size, limit) if n is not None]
    return min(known) * stages if known else None


def _expect(
    classifier: Classifier, dataset: Dataset, batch_size: int, limit: int | None, expected: float
) -> Diagnostic:
    """Returns Q01, or raises where the clean accuracy is not what it should be."""
    if not 0 <= expected <= 1:
        raise ConfigurationError(f"evaluate: expected a clean accuracy as a fraction in 0..1, got {expected}")
    if isinstance(dataset.source, Iterator):
        raise ConfigurationError(
            "evaluate: expected_clean_accuracy needs data that can be read twice, got an iterator; "
            "give a list, a data set or a loader"
        )
    right = n = 0
    with classifier.frozen(), torch.no_grad():
        for batch in batches(dataset, batch_size, limit):
            logits = classifier.logits(classifier.accept(batch.x))
            y = as_labels(batch.y, logits.shape[1]).to(logits.device)
            right, n = right + int((logits.argmax(1) == y).sum()), n + len(y)
    share = proportion(right, n)
    low, high = share.clopper_pearson
    limits = f"{expected:.4f} inside the 95 % interval"
    if not low <= expected <= high:
        raise InvalidEvaluation(
            f"evaluate: expected clean accuracy {100 * expected:.2f} %, got {right} of {n} = {100 * right / n:.2f} %"
            f" (95 % interval {100 * low:.1f}-{100 * high:.1f}); check mean, std, class order and checkpoint"
        )
    return diagnostic("Q01", right / n, limits, "pass", f"{right} of {n} right, as expected")
