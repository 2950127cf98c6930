"""The evaluator: streams samples through the doctor, a clean pass and every attack, and writes the ledger."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustkit.attack import Attack
from robustkit.bench import Bench, Progress
from robustkit.classifier import Classifier, as_classifier
from robustkit.data import Batch, Dataset, batches, shuffled
from robustkit.diagnostics import Diagnostic, diagnostic
from robustkit.doctor import examine
from robustkit.errors import ConfigurationError, InvalidEvaluation
from robustkit.evaluation import Evaluation
from robustkit.labels import as_labels
from robustkit.pace import Pace
from robustkit.probes import Probed, Probes
from robustkit.protocols import Protocol, custom
from robustkit.stats import proportion

FIRST = 16  # samples to begin with where the run may stop early
CHUNK = 4  # batches that go through all attacks together; the only samples in memory at any time


def evaluate(
    classifier: Classifier | nn.Module | Callable[[Tensor], Any],
    data: Any,
    attacks: Sequence[Attack] | Protocol,
    *,
    batch_size: int = 256,
    limit: int | None = None,
    seed: int = 0,
    expected_clean_accuracy: float | None = None,
    until: float | None = None,
    budget: float | None = None,
    accelerate: bool = True,
    progress: Callable[[Progress], None] | None = None,
    examples: int = 8,
    probes: int = 0,
    tuning: Any = None,
) -> Evaluation:
    """Returns clean accuracy, accuracy under every attack and their per-sample worst case, with a ledger of all rows.

    Attacks given as a list run on every sample that is right from the start, independently of each other; those of a
    protocol run on what is still standing. Each point they return is re-measured against the threat in float64 and
    classified again in a fresh pass, which decides. Data are streamed: besides the ledger only a few batches are in
    memory. Nothing depends on batch size or order.

    With `until` or `budget` samples are taken in random order where the data can be indexed, and the run stops when
    the interval is narrow enough or the time is up; `Evaluation.anytime_interval` is valid however often one looked.

    Args:
        classifier: The model; a bare module takes inputs in 0..1 and returns class scores.
        data: Whatever `robustkit.data.batches` reads: a Dataset, a pair (x, y), a loader, any iterable of (x, y[, id]).
        attacks: Attacks of one and the same threat, or a protocol.
        batch_size: Rows the model sees at once; halved when memory runs out.
        limit: Evaluate at most so many samples, the first ones unless the order is random.
        seed: Seed of all random numbers, and of the bootstrap.
        expected_clean_accuracy: A fraction that must lie in the 95 % Clopper-Pearson interval of the clean accuracy;
            checked before any attack, so `data` must be readable twice.
        until: Half-width of the interval of the robust accuracy that is enough, a fraction.
        budget: Seconds after which no new samples are begun.
        accelerate: Let attacks search on a faster copy of the model where one agrees with it (see `robustkit.faster`);
            the fresh pass that decides is always the model's own.
        progress: Called with a `Progress` after every piece of work.
        examples: How many broken samples to keep with their worst points, one of each class first.
        probes: On how many samples to check the evaluation itself after the attacks (see `robustkit.probes`); 64 are
            enough. Without, the quality is at best "reliable with remarks", because the checks were not run.
        tuning: What the model was trained or tuned on, data or the SHA-256 of a report's data; audited samples among
            them are counted (Q23).

    Raises:
        ConfigurationError: If the attacks do not share one threat or an argument cannot be meant.
        InvalidEvaluation: If the doctor refuses data or model, or the clean accuracy is not the expected one.
        ThreatViolation: If an attack left its threat.
    """
    start = time.perf_counter()
    classifier = as_classifier(classifier)
    protocol = attacks if isinstance(attacks, Protocol) else custom(attacks)
    dataset = data if isinstance(data, Dataset) else Dataset(name="data", source=data, bounds=classifier.bounds)
    if dataset.bounds != classifier.bounds:
        raise ConfigurationError(
            f"evaluate: expected data in the model's bounds {classifier.bounds}, got {dataset.bounds}; make them agree"
        )
    size = _size(dataset.source, limit)
    total = None if size is None else size * (1 + len(protocol.attacks))
    bench = Bench(classifier, protocol, batch_size, seed, accelerate, progress, examples, total)
    pace = Pace(until, budget)
    after = Probes(bench, probes, tuning)
    checked = bool(probes) or tuning is not None
    if bench.total is not None and size is not None:
        bench.total += after.stages * min(probes, size)
    found: list[Diagnostic] = []
    if expected_clean_accuracy is not None:
        found.append(_expect(classifier, dataset, batch_size, limit, expected_clean_accuracy))
    if pace.early:
        dataset = shuffled(dataset, seed)
    for chunk in _chunks(dataset, batch_size, limit, pace, bench):
        if not len(bench.ledger):
            found += examine(classifier, chunk.x, chunk.y)
        bench.work(chunk)
        if checked:
            after.offer(chunk)
    probed = after.run() if checked else Probed()
    return Evaluation(
        ledger=bench.ledger,
        threat=bench.threat,
        protocol=protocol,
        fingerprint=protocol.fingerprint(classifier.model_dtype),
        runs=tuple(bench.finished_runs()),
        num_classes=classifier.classes(chunk.x[:1]),
        input_shape=tuple(chunk.x.shape[1:]),
        dataset=dataset,
        seed=seed,
        draws=classifier.draws,
        ids_sha256=hashlib.sha256(np.sort(bench.ledger["id"]).tobytes()).hexdigest(),
        data_sha256=bench.data_sha256,
        found=(*found, *probed.found),
        clean_bins=bench.clean_bins,
        attacked_bins=bench.attacked_bins,
        on_grid=bench.on_grid,
        accelerated=bench.accelerated,
        early=pace.early,
        stopped=pace.reason,
        planned=size,
        examples=bench.gallery.examples(),
        seconds=time.perf_counter() - start,
        curve=probed.curve,
        probed=probed.n,
        probe_seconds=probed.seconds,
    )


def _chunks(dataset: Dataset, batch_size: int, limit: int | None, pace: Pace, bench: Bench) -> Iterator[Batch]:
    """Yields what goes through all attacks together: a few batches, or what the pace says."""
    unit = min(batch_size, FIRST) if pace.early else batch_size
    stream = batches(dataset, unit, limit)
    while True:
        most = CHUNK * batch_size
        wanted = most
        if pace.early:
            wanted = pace.next(int(bench.ledger.standing.sum()), len(bench.ledger), unit, most)
        held = list(islice(stream, -(-wanted // unit)))
        if not held:
            return
        yield _join(held)


def _join(parts: list[Batch]) -> Batch:
    x, y, ids = (torch.cat(column) for column in zip(*((p.x, p.y, p.ids) for p in parts), strict=True))
    names = [name for p in parts for name in (p.names or map(str, p.ids.tolist()))]
    return Batch(x, y, ids, names if any(p.names for p in parts) else None)


def _size(source: Any, limit: int | None) -> int | None:
    """Returns how many samples there are to look at, None where the source does not know its length."""
    if isinstance(source, tuple | list) and len(source) in (2, 3) and hasattr(source[0], "shape"):
        size: int | None = len(source[0])
    else:
        counted = getattr(source, "dataset", source)  # a loader's own length counts batches
        size = len(counted) if isinstance(counted, Sized) else None
    known = [n for n in (size, limit) if n is not None]
    return min(known) if known else None


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
