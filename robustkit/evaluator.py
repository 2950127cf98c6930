"""The evaluator: streams samples through the doctor, a clean pass and every attack, and writes the ledger."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustkit.attacks import Transfer
from robustkit.attacks.base import Attack
from robustkit.attacks.protocols import Protocol, custom
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.processes import ranks
from robustkit.checks.diagnostic import Diagnostic, diagnostic
from robustkit.checks.doctor import ROWS, examine
from robustkit.data.dataset import Batch, Dataset, batches, samples_sha256, samples_sum, shuffled
from robustkit.data.labels import as_labels
from robustkit.evaluation.checkpoint import Parts, pack, unpack
from robustkit.evaluation.chunk import Bench
from robustkit.evaluation.gallery import Gallery
from robustkit.evaluation.merge import joined
from robustkit.evaluation.progress import Progress
from robustkit.evaluation.result import Evaluation
from robustkit.evaluation.schedule import Meter, Share, cut
from robustkit.evaluation.stopping import Pace
from robustkit.maths.calibration import ClasswiseBins
from robustkit.maths.intervals import proportion
from robustkit.model.accelerate import faster
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.model.weights import weights_sha256
from robustkit.probes.run import Probed, Probes

MANY = 64  # parts that are held before they are put together


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
    evidence: bool = False,
    shard: tuple[int, int] | None = None,
    folder: str | Path | None = None,
    finished: Sequence[str | Path] = (),
    probes: int = 0,
    tuning: Any = None,
) -> Evaluation:
    """Returns clean accuracy, accuracy under every attack and their per-sample worst case, with a ledger of all rows.

    Attacks given as a list run on every sample that is right from the start, independently of each other; those of a
    protocol run on what is still standing. Each point they return is re-measured against the threat in float64 and
    classified again in a fresh pass, which decides. Data are streamed: besides the ledger only a few batches are in
    memory. Nothing depends on batch size or order.

    The data are cut into pieces that do not depend on who works on them. In a torch process group, as under
    `torchrun`, every process calls this with the same arguments, does its share of the pieces, and returns the whole.

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
        accelerate: Let attacks search on a faster copy of the model where one agrees with it
            (`robustkit.model.accelerate`); the fresh pass that decides is always the model's own.
        progress: Called with a `Progress` after every piece of work.
        examples: How many broken samples to keep with their worst points, one of each class first.
        evidence: Keep the points the verdicts rest on, for `robustkit.save_bundle`: of every sample the worst, and all
            that changed a prediction. They stay in memory, on the CPU.
        shard: Do one share of the pieces only, (index from 0, count); `robustkit.merge_evaluations` puts
            the shares together.
        folder: Write what is finished there, once a minute and at the end. Processes share it.
        finished: Folders with finished parts to take over; with `folder` among them a killed run goes on, with those
            of all shards nothing is left to do.
        probes: On how many samples to check the evaluation itself after the attacks (see `robustkit.probes`); 64 are
            enough. Without, the quality is at best "reliable with remarks", because the checks were not run.
        tuning: What the model was trained or tuned on, data or the SHA-256 of a report's data; audited samples among
            them are counted (Q23).

    Raises:
        ConfigurationError: If the attacks do not share one threat, an argument cannot be meant, or finished parts
            belong to another evaluation.
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
    here, pace, size = ranks(), Pace(until, budget), _size(dataset.source, limit)
    share = Share(shard, here, pace, folder is not None)
    after = Probes(classifier, seed, probes, tuning)
    probing = after.wanted and not share.by_hand  # shards are probed together, when they are merged
    meter = Meter(progress if here.first else None, 1 + len(protocol.attacks), after.visits(size))
    bench = Bench(classifier, protocol, batch_size, seed, classifier, meter.tell, examples, evidence)
    found: list[Diagnostic] = []
    if expected_clean_accuracy is not None:
        found.append(_expect(classifier, dataset, batch_size, limit, expected_clean_accuracy))
    if pace.early:
        dataset = shuffled(dataset, seed)
    stream = cut(dataset, batch_size, limit, size, pace, meter)
    head = next(stream)
    found += examine(classifier, head.x, head.y)
    with classifier.frozen():
        x = classifier.accept(head.x[:ROWS])
        search = faster(classifier, x[:16]) if accelerate else classifier
        classes = classifier.classes(x[:1])
    blank = Evaluation(
        ledger=bench.ledger,
        threat=bench.threat,
        protocol=protocol,
        fingerprint=protocol.fingerprint(classifier.model_dtype),
        runs=tuple(bench.runs),
        num_classes=classes,
        input_shape=tuple(head.x.shape[1:]),
        dataset=dataset,
        seed=seed,
        draws=classifier.draws,
        ids_sha256="",
        data_sha256="",
        found=tuple(found),
        clean_bins=ClasswiseBins(classes),
        attacked_bins=ClasswiseBins(classes),
        on_grid=True,
        accelerated=search is not classifier,
        early=pace.early,
        planned=size,
        gallery=Gallery(examples, classes),
        evidence=bench.evidence,
    )
    sizes = {"limit": limit, "batch size": batch_size, "examples": examples, "evidence": evidence}
    blank.settings = {**_common(blank, classifier, head), **{name: str(value) for name, value in sizes.items()}}
    store, kept = Parts(folder, finished), list[Evaluation]()

    def take_over() -> set[int]:
        kept.extend(store.begin(blank))
        return {int(place) for part in kept for place in part.places}

    known = here.told(take_over)
    meter.begin(kept, None if size is None else size if pace.early else share.rows(size, batch_size, known))
    parts, place, again = [blank, *kept], 0, 0
    try:
        for chunk in chain([head], stream):
            done = place in known
            if share.mine(done):
                bench = Bench(classifier, protocol, bench.fits, seed, search, meter.tell, examples, evidence)
                bench.work(chunk)
                bench.gallery.add_saliency(bench.judge.problem)
                part = _part(blank, bench, place)
                meter.add(part)
                store.add(part)
                parts = [*parts, part] if len(parts) < MANY else [joined([*parts, part])]
            elif done and here.first:
                again += _sum(classifier, chunk)
            if probing:
                after.offer(chunk, place)
            place += len(chunk)
    finally:
        store.write()
    if here.first and again % 2**256 != sum(part.data_sum for part in kept) % 2**256:
        raise InvalidEvaluation("evaluate: expected the samples of the finished parts, got others; begin anew")
    whole = joined(parts)
    if here.count > 1:
        others = here.gathered(pack(whole))
        whole = joined([blank, *(unpack(*other, blank) for other in others)])
        # The points stay with the first process, which writes them.
        rest = unpack(*here.told(lambda: pack(dataclasses.replace(whole, evidence=None))), blank)
        whole = whole if here.first else joined([blank, rest])
    probed = after.run(whole, bench.fits, meter) if probing else Probed()
    return dataclasses.replace(
        whole,
        total=place,
        stopped=pace.reason,
        found=(*whole.found, *probed.found),
        curve=probed.curve,
        probed=probed.n,
        probe_seconds=probed.seconds,
        seconds=time.perf_counter() - start,
    )


def _part(blank: Evaluation, bench: Bench, place: int) -> Evaluation:
    """Returns what one piece left behind, which begins at a place of the data."""
    return dataclasses.replace(
        blank,
        ledger=bench.ledger,
        places=np.arange(place, place + len(bench.ledger)),
        runs=tuple(bench.finished_runs()),
        clean_bins=bench.clean_bins,
        attacked_bins=bench.attacked_bins,
        on_grid=bench.on_grid,
        gallery=bench.gallery,
        evidence=bench.evidence,
        data_sum=bench.data_sum,
    )


def _common(blank: Evaluation, classifier: Classifier, head: Batch) -> dict[str, str]:
    """Returns what decides the results of every piece, as text."""
    surrogates = [attack.surrogate for attack in blank.protocol.attacks if isinstance(attack, Transfer)]
    constants = [None if c is None else c.flatten().tolist() for c in (classifier.mean, classifier.std)]
    return {
        "protocol": f"{blank.protocol.label} {blank.fingerprint}",
        "model": f"{type(classifier.model).__name__} {weights_sha256(classifier.module)}",
        "surrogates": " ".join(weights_sha256(other.module) for other in surrogates if other),
        "input": f"{classifier.bounds}, mean {constants[0]}, std {constants[1]}",
        "output": classifier.output,
        "draws": str(classifier.draws),
        "data": f"{blank.dataset.name} {blank.dataset.split}, {blank.planned} samples",
        "first samples": samples_sha256(_sum(classifier, head.rows(0, ROWS))),
        "seed": str(blank.seed),
        "accelerated": str(blank.accelerated),
    }


def _sum(classifier: Classifier, batch: Batch) -> int:
    """Returns the hash of some samples as they come to the model."""
    return samples_sum(classifier.accept(batch.x), as_labels(batch.y), batch.ids)


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
