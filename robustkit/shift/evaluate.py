"""Evaluation under shift: accuracy and calibration for every corruption and severity."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.settings import every, function, integer, items, sizes
from robustkit.base.settings import path as known_path
from robustkit.checks.joining import join_classes
from robustkit.data.dataset import Dataset, batches, check_bounds, count_samples
from robustkit.data.labels import as_labels
from robustkit.data.sampling import sampled
from robustkit.maths.calibration import Columns, Estimate, columns, measure
from robustkit.maths.intervals import bootstrap
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.model.unpacked import refuse_several
from robustkit.shift.corruptions import CORRUPTIONS, KNOWN, SEVERITIES, corrupt
from robustkit.shift.published_sets import load_corrupted
from robustkit.shift.result import ALEXNET, Baseline, Cell, Shift

__all__ = ["ALEXNET", "Baseline", "Cell", "Shift", "evaluate_shift"]

_RESAMPLES = 200  # of the bootstrap in each of up to 76 cells


def evaluate_shift(
    classifier: Classifier | nn.Module,
    data: Any,
    corruptions: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    *,
    batch_size: int = 256,
    limit: int | None = None,
    first: int | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> Shift:
    """Returns accuracy and calibration on clean samples and under every corruption at every severity.

    Corrupted images are made from `data` on the model's device (`robustkit.shift.corruptions`), or read from `folder`.

    Args:
        classifier: The model; a bare module takes inputs in 0..1. Its bounds must be (0, 1).
        data: Whatever `robustkit.data.batches` reads; each sample is an image (1 or 3, H, W).
        corruptions: Names, in the order of the result; all of `CORRUPTIONS` if None.
        severities: From 1 to 5.
        batch_size: Images the model sees at once.
        limit: Only so many samples, drawn with every class in proportion; see `robustkit.data.sampled`.
        first: Only the first so many samples instead.
        seed: Of corruptions and bootstrap; nothing depends on batch size or order.
        folder: Folder in the layout of CIFAR-10-C (`robustkit.shift.published_sets`), of the same samples.
        progress: Called with a name and a number of rows after every pass.

    Raises:
        ConfigurationError: If a name, a severity or the bounds are invalid, or files cannot be used.
        InvalidEvaluation: If the data are no images in 0..1, or `folder` holds other samples than `data`.
    """
    classifier = as_classifier(classifier)
    check_bounds("shift", data, classifier.bounds)
    refuse_several("shift", classifier.module)
    batch_size, limit, seed = sizes("shift", batch_size, limit, seed)
    if progress is not None:
        function("shift", "progress", progress)
    folder = None if folder is None else known_path("shift", "folder", folder)
    names, levels = _asked(corruptions, severities, made=folder is None)
    dataset = join_classes(classifier, data)
    chosen = sampled(dataset, limit, first, seed)
    if classifier.bounds != (0.0, 1.0):
        raise ConfigurationError(
            f"shift: expected a model of inputs in 0..1, got {classifier.bounds}; use mean and std"
        )
    cells = [("clean", 0), *((name, level) for name in names for level in levels)]
    found: dict[tuple[str, int], list[Columns]] = {cell: [] for cell in cells}
    labels: list[Tensor] = []
    with classifier.frozen(), torch.no_grad():
        for batch in batches(chosen, batch_size):
            x = classifier.accept(batch.x)
            labels.append(batch.y)
            for name, level in cells if folder is None else cells[:1]:
                seen = corrupt(x, name, level, batch.ids, seed) if level else x
                found[name, level].append(_judge(classifier, seen, batch.y))
                if progress:
                    progress(name, len(x))
        for name, level in cells[1:] if folder is not None else ():
            assert folder is not None
            published = dataclasses.replace(load_corrupted(folder, name, level), first=count_samples(dataset))
            published = sampled(published, None if chosen.first else limit, chosen.first, seed)
            for x, y in _published(published, f"{name} in '{folder}'", batch_size, torch.cat(labels)):
                found[name, level].append(_judge(classifier, classifier.accept(x), y))
                if progress:
                    progress(name, len(x))
    table = {cell: Columns(*map(np.concatenate, zip(*parts, strict=True))) for cell, parts in found.items()}
    clean, *others = (
        Cell(name, level, measure(*table[name, level], resamples=_RESAMPLES, seed=seed)) for name, level in cells
    )
    right = np.mean([table[cell].correct for cell in cells[1:]], axis=0)
    source = "made by robustkit" if folder is None else str(folder)
    return Shift(clean, tuple(others), _mean(right, seed), source, seed)


def _asked(
    corruptions: Sequence[str] | None, severities: Sequence[int], made: bool
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns names and severities, each once; names must be known where the images are `made` here."""
    if corruptions is not None:
        every("shift", "corruptions", corruptions, str)
    names = tuple(dict.fromkeys(corruptions)) if corruptions is not None else tuple(CORRUPTIONS)
    given = [integer("shift", "every severity", level, 1, 5) for level in items("shift", "severities", severities)]
    if not names or not given:
        raise ConfigurationError(
            f"shift: expected at least one corruption and severities from 1 to 5, got {list(names)} and {given};"
            " correct them"
        )
    for name in names if made else ():
        KNOWN.find(name)
    return names, tuple(sorted(set(given)))


def _judge(classifier: Classifier, x: Tensor, y: Tensor) -> Columns:
    logits = classifier.logits(x).double()
    return columns(
        classifier.probabilities(logits).cpu().numpy(),
        as_labels(y, logits.shape[1]).cpu().numpy(),
        classifier.one_vs_rest,
    )


def _published(published: Dataset, name: str, batch_size: int, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    seen = 0
    for batch in batches(published, batch_size, len(labels)):
        if not batch.y.equal(labels[seen : seen + len(batch)].to(batch.y)):
            raise InvalidEvaluation(
                f"shift: expected the samples of the data in their order, got other labels for {name}; give both the"
                " same test set"
            )
        seen += len(batch)
        yield batch.x, batch.y
    if seen < len(labels):
        raise InvalidEvaluation(f"shift: expected {len(labels)} images of {name}, got {seen}; set first={seen}")


def _mean(right: NDArray[np.float64], seed: int) -> Estimate:
    low, high = bootstrap(lambda counts: counts @ right / len(right), len(right), seed=seed)
    return Estimate(float(right.mean()), float(low), float(high))
