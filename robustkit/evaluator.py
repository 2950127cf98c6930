"""`evaluate`: clean accuracy, accuracy under every attack and their per-sample worst case, from a ledger of all rows.

The data are cut into chunks that do not depend on who works on them; each goes through the clean pass and all attacks
by itself. What is found on one is a `Part`, and the evaluation is the sum of its parts. So a run can be shared by
processes or machines, and a run that was interrupted goes on where it was.

Attacks given as a list run on every sample that is right from the start, independently of each other; those of a
protocol run on what is not broken yet. Every point they return is measured again against the threat in float64 and
classified again in a fresh pass, which decides. Nothing depends on batch size or order.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustkit.attacks.base import Attack
from robustkit.attacks.protocols import Protocol, as_protocol
from robustkit.attacks.threat import Eps, Threat
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.memory import in_batches
from robustkit.base.processes import ranks
from robustkit.base.settings import flag, function, integer, sizes
from robustkit.checks.clean_accuracy import expect_clean_accuracy, some_samples
from robustkit.checks.diagnostic import Diagnostic, check_name
from robustkit.checks.doctor import examine
from robustkit.checks.first_pass import ROWS
from robustkit.checks.joining import join_classes
from robustkit.data.dataset import Batch, Dataset, check_bounds, count_samples, samples_sha256, samples_sum
from robustkit.data.labels import as_labels
from robustkit.data.layout import layout_of
from robustkit.data.sampling import sampled, shuffled
from robustkit.evaluation.attack_run import common_threat
from robustkit.evaluation.checkpoint import Parts
from robustkit.evaluation.chunk import Chunk
from robustkit.evaluation.class_count import count_classes
from robustkit.evaluation.early_stopping import EarlyStopping
from robustkit.evaluation.merge import finished as finish
from robustkit.evaluation.part import Part, Setup
from robustkit.evaluation.part_files import check_folders
from robustkit.evaluation.part_settings import settings_of
from robustkit.evaluation.progress import Progress
from robustkit.evaluation.result import Evaluation
from robustkit.evaluation.schedule import Meter, Share, cut
from robustkit.maths.norms import Norm
from robustkit.model.accelerate import faster
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.model.unpacked import check_layout
from robustkit.probes.run import Probes

logger = logging.getLogger("robustkit")


@in_batches
def evaluate(
    classifier: Classifier | nn.Module | Callable[[Tensor], Any],
    data: Any,
    attacks: Sequence[Attack | str] | Attack | str | Protocol,
    *,
    norm: Norm | None = None,
    eps: Eps | None = None,
    batch_size: int = 256,
    limit: int | None = None,
    first: int | None = None,
    seed: int = 0,
    expected_clean_accuracy: float | None = None,
    until: float | None = None,
    budget: float | None = None,
    accelerate: bool = True,
    progress: Callable[[Progress], None] | None = None,
    examples: int = 10,
    evidence: bool = False,
    shard: tuple[int, int] | None = None,
    folder: str | Path | None = None,
    finished: Sequence[str | Path] = (),
    probes: int = 0,
    tuning: Any = None,
) -> Evaluation:
    """Returns what the attacks leave of the accuracy of a model; under `torchrun` all processes share the work.

    Args:
        classifier: The model; a bare module takes inputs in 0..1 and returns class scores.
        data: Whatever `robustkit.data.batches` reads: a Dataset, a pair (x, y), a loader, any iterable of (x, y[, id]).
        attacks: One or more of one threat, or a protocol; also by name, as "pgd:steps=40" or "autoattack:eps=4/255".
        norm: Of attacks given by name that do not say it; "Linf" by default.
        eps: The same, in the units of the inputs; "8/255" by default.
        batch_size: Rows the model sees at once; halved when memory runs out.
        limit: Only so many samples, drawn with every class in proportion; see `robustkit.data.sampled`.
        first: Only the first so many samples instead.
        seed: Of all random numbers.
        expected_clean_accuracy: Fraction that must lie in the 95 % interval; data are read twice. Needed for a guess.
        until: Stop once the robust accuracy is known to this half-width, a fraction; see `anytime_interval`.
        budget: Seconds after which no new samples are begun.
        accelerate: Let attacks search on a faster copy of the model; the fresh pass is always the model's own.
        progress: Called with a `Progress` after every piece of work.
        examples: Broken samples to keep with their worst points, one of each class first; a third as many robust ones.
        evidence: Keep the points behind the outcomes in memory, for `robustkit.save_bundle`.
        shard: Do one share only, (index from 0, count); `robustkit.merge_evaluations` puts them together.
        folder: Write what is finished there, every few seconds and at the end. Processes share it.
        finished: Folders with finished parts to take over: `folder` to resume, those of all shards to merge.
        probes: Check the evaluation on so many samples afterwards; 64 are enough, 0 is "reliable with remarks" at best.
        tuning: What the model was tuned on, data or a report's data SHA-256; audited samples among them are counted.

    Raises:
        ConfigurationError: If the attacks share no threat, an argument is invalid, or parts are another evaluation's.
        InvalidEvaluation: If the doctor refuses data or model, or the clean accuracy is unexpected or that of a guess.
        ThreatViolation: If an attack left its threat.
    """
    classifier = as_classifier(classifier)
    protocol, threat = _attacks(attacks, classifier, data, norm, eps)
    batch_size, limit, seed = sizes("evaluate", batch_size, limit, seed)
    _check(classifier, data, examples, progress, (accelerate, evidence), folder, finished)
    dataset = sampled(join_classes(classifier, data), limit, first, seed)
    here, stopping, size = ranks(), EarlyStopping(until, budget), count_samples(dataset)
    share = Share(shard, here, stopping)
    probe = Probes(classifier, seed, probes, tuning, later=share.by_hand)
    meter = Meter(progress if here.first else None, 1 + len(protocol.attacks), probe.visits(size))
    dataset = shuffled(dataset, seed) if stopping.early else dataset
    head = next(stream := cut(dataset, batch_size, size, stopping, meter))
    found = _examined(classifier, dataset, head, batch_size, expected_clean_accuracy)
    given = {"limit": limit, "first": first, "batch size": batch_size, "examples": examples, "evidence": evidence}
    setup, search = _set_up(classifier, protocol, threat, dataset, head, seed, stopping.early, size, accelerate, given)
    parts = Parts(setup, Part.empty(setup, examples, evidence), folder, finished, meter.begun)
    chunk, known = Chunk(setup, classifier, search, batch_size, meter.tell), here.told(parts.take_over)
    meter.begin(parts.taken, share.rows(size, batch_size, known))
    with parts.kept():
        for place, batch in share.read(dataset, chain([head], stream), size, batch_size, known):
            if share.mine(place in known):
                meter.add(parts.add(chunk.run(batch, place, Part.empty(setup, examples, evidence))))
            elif place in known and here.first:
                parts.check(_hash(classifier, batch))
            probe.offer(batch, place)
    whole = finish(setup, parts.whole(here), found=tuple(found), total=share.total, stopped=stopping.reason)
    return dataclasses.replace(probe.run(whole, chunk.batch_size, meter, folder, finished), seconds=meter.seconds)


def _examined(
    classifier: Classifier, dataset: Dataset, head: Batch, batch_size: int, expected: float | None
) -> list[Diagnostic]:
    """Returns what the doctor found, the clean accuracy first, which is told before any attack."""
    known = expect_clean_accuracy(classifier, dataset, batch_size, expected)
    found = [*known, *examine(classifier, head.x, head.y, some_samples(dataset, head), expected)]
    for item in found:
        if item.id == "Q01":
            if item.status == "fail":
                raise InvalidEvaluation(f"evaluate, {check_name(item.id)}: {item.message}")
            logger.info("clean accuracy: %s", item.message)
    return found


def _check(
    classifier: Classifier,
    data: Any,
    examples: int,
    progress: Any,
    flags: tuple[bool, bool],
    folder: Any,
    finished: Any,
) -> None:
    """Raises ConfigurationError where the data have other bounds than the model, or an argument is of a wrong kind."""
    check_bounds("evaluate", data, classifier.bounds)
    integer("evaluate", "examples", examples, 0)
    for name, value in zip(("accelerate", "evidence"), flags, strict=True):
        flag("evaluate", name, value)
    if progress is not None:
        function("evaluate", "progress", progress)
    check_folders("evaluate", folder, finished)


def _attacks(
    attacks: Any, classifier: Classifier, data: Any, norm: Norm | None, eps: Eps | None
) -> tuple[Protocol, Threat]:
    """Returns the attacks and their threat, by default that of the data's schema, if they have one."""
    schema, layout = (data.schema, data.layout) if isinstance(data, Dataset) else (None, None)
    check_layout("evaluate", classifier.module, layout)
    if layout is not None and eps is not None:
        eps = layout.eps(eps)
    if schema is not None and eps is None and isinstance(attacks, str | list | tuple):
        eps = schema.eps(norm or "Linf") if any(isinstance(one, str) for one in (attacks, *attacks)) else None
    protocol = as_protocol(attacks, partial(count_classes, "evaluate", classifier, data), norm, eps)
    threat = common_threat(protocol.attacks, classifier)
    if schema is not None and not schema.fits(threat.eps, threat.norm):
        raise ConfigurationError(
            f"evaluate: expected the eps of the data's schema in {threat.norm}, got another; give norm={threat.norm!r}"
            f" and eps=data.schema.eps({threat.norm!r}), or data without a schema"
        )
    if layout_of(threat.eps) != layout:
        raise ConfigurationError(
            "evaluate: expected eps=data.layout.eps(...) in every attack on data with several inputs, got another; give"
            " it, or the names of attacks and eps="
        )
    return protocol, threat


def _set_up(
    classifier: Classifier,
    protocol: Protocol,
    threat: Threat,
    dataset: Dataset,
    head: Batch,
    seed: int,
    early: bool,
    planned: int | None,
    accelerate: bool,
    sizes: dict[str, Any],
) -> tuple[Setup, Classifier]:
    """Returns what all parts have in common, and what the attacks search on: the model or its faster copy."""
    with classifier.frozen():
        x = classifier.accept(head.x[:ROWS])
        search = faster(classifier, x[:16]) if accelerate else classifier
        classes = classifier.classes(x[:1])
    setup = Setup(
        threat=threat,
        protocol=protocol,
        fingerprint=protocol.fingerprint(classifier.model_dtype),
        num_classes=classes,
        input_shape=tuple(head.x.shape[1:]),
        dataset=dataset,
        seed=seed,
        draws=classifier.draws,
        accelerated=search is not classifier,
        early=early,
        planned=planned,
    )
    settings = _settings(setup, classifier, head) | {name: str(value) for name, value in sizes.items()}
    return dataclasses.replace(setup, settings=settings), search


def _settings(setup: Setup, classifier: Classifier, head: Batch) -> dict[str, str]:
    """Returns what decides the results of every part, as text."""
    return {
        "seed": str(setup.seed),
        **settings_of(classifier, setup.protocol),
        "data": f"{setup.dataset.name} {setup.dataset.split}, {setup.planned} samples",
        "first samples": samples_sha256(_hash(classifier, head.rows(0, ROWS))),
        "accelerated": str(setup.accelerated),
    }


def _hash(classifier: Classifier, batch: Batch) -> int:
    """Returns the hash of some samples as they come to the model."""
    return samples_sum(classifier.accept(batch.x), as_labels(batch.y), batch.ids)
