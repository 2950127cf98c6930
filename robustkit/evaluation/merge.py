"""Putting the parts of an evaluation together: every figure is a sum that does not depend on their order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import every
from robustkit.data.dataset import samples_sha256
from robustkit.evaluation.attack_run import AttackRun
from robustkit.evaluation.evidence import Evidence
from robustkit.evaluation.gallery import Gallery
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.part import Part, Setup
from robustkit.evaluation.result import Evaluation
from robustkit.maths.calibration import ClasswiseBins
from robustkit.maths.exact_sums import ExactSums


def merge_evaluations(shards: Sequence[Evaluation]) -> Evaluation:
    """Returns the evaluation of all samples from those of its shards, in whatever order they come.

    It equals that of one process in everything but the time it took, the ledger to the last byte.

    Args:
        shards: From `robustkit.evaluate(..., shard=...)`, with the same arguments otherwise.

    Raises:
        ConfigurationError: If they do not belong together, or samples are there twice or not at all.
    """
    every("merge", "shards", shards, Evaluation)
    if not shards:
        raise ConfigurationError("merge: expected the evaluations of all shards, got none; give them in a list")
    first = shards[0]
    for other in shards[1:]:
        for name, mine in first.settings.items():
            if (theirs := other.settings.get(name)) != mine:
                raise ConfigurationError(
                    f"merge: expected parts of one evaluation, got {name} {mine!r} and {theirs!r}; run them with the"
                    " same arguments"
                )
    whole = joined(shards)
    missing = sorted(set(range(first.total)) - set(whole.places.tolist()))
    if missing:
        raise ConfigurationError(
            f"merge: expected all {first.total} samples, got {len(whole.places)}, without number {missing[0]}; add the"
            " missing shards"
        )
    return finished(first, whole, found=first.found, total=first.total)


def finished(setup: Setup, whole: Part, **rest: Any) -> Evaluation:
    """Returns the evaluation of all samples; `rest` are the fields that `Evaluation` adds."""
    common = {field.name: getattr(setup, field.name) for field in dataclasses.fields(Setup)}
    examples = whole.gallery.examples() if whole.gallery else ()
    found = {"data_sha256": samples_sha256(whole.data_sum), "examples": examples}
    return Evaluation(**{**vars(whole), **common, **found, **rest})


def joined(parts: Sequence[Part]) -> Part:
    """Returns what was found on the samples of all parts of one evaluation, which need not be all there are.

    Raises:
        ConfigurationError: If the parts have a sample in common.
    """
    first = parts[0]
    places = np.concatenate([part.places for part in parts])
    order = np.argsort(places, kind="stable")
    places = places[order]
    if (twice := places[1:][places[1:] == places[:-1]]).size:
        raise ConfigurationError(f"merge: expected every sample once, got number {twice[0]} twice; drop a part")
    classes = first.clean_bins.num_classes
    clean, attacked = ClasswiseBins(classes), ClasswiseBins(classes)
    gallery = Gallery(first.gallery.room if first.gallery else 0, classes)
    evidence = Evidence(first.ledger.attacks) if first.evidence else None
    for part in parts:
        clean.update(part.clean_bins)
        attacked.update(part.attacked_bins)
        if part.gallery:
            gallery.update(part.gallery)
        if evidence and part.evidence:
            evidence.update(part.evidence)
    return Part(
        ledger=Ledger.joined([part.ledger for part in parts], order),
        runs=tuple(_run(runs) for runs in zip(*(part.runs for part in parts), strict=True)),
        clean_bins=clean,
        attacked_bins=attacked,
        on_grid=all(part.on_grid for part in parts),
        gallery=gallery,
        evidence=evidence,
        places=places,
        data_sum=sum(part.data_sum for part in parts),
        seconds=sum(part.seconds for part in parts),
    )


def _run(runs: Sequence[AttackRun]) -> AttackRun:
    """Returns the run of one attack over the samples of all these runs: the sum of every count."""
    names = [item.name for item in dataclasses.fields(AttackRun)]
    counts = {name: sum(getattr(run, name) for run in runs) for name in names if _counts(getattr(runs[0], name))}
    whole = dataclasses.replace(runs[0], path=None, **counts)
    paths = [run.path for run in runs if run.path]
    if paths:
        whole.path = ExactSums(len(paths[0].totals))
        for path in paths:
            whole.path.update(path)
        whole.loss_path = tuple((whole.path.values() / max(whole.rows, 1)).tolist())
    return whole


def _counts(value: object) -> bool:
    return isinstance(value, (int, float))
