"""A hash over all data that some samples were chosen from, read in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Literal

from robustkit.base.errors import RobustkitError
from robustkit.base.foreign_code import foreign
from robustkit.data.dataset import Dataset, are_columns, batches, count_samples, samples_sha256, samples_sum
from robustkit.data.remapped_labels import Relabelled
from robustkit.data.sampling import indexed, listed_labels

ROWS = 256  # read at once
MOST = 100_000  # of more samples that lie on a disk or have to be decoded no hash is made: it would take hours


def hash_whole(dataset: Dataset) -> tuple[int, str, Literal["inputs", "files"]] | None:
    """Returns size and SHA-256 of all data, and of what: "files" as they are stored, or "inputs" as they are read.

    Either way with place or id and label. None where the data cannot be indexed, or not all of them can be read, and
    where they are more than `MOST` that are no arrays.
    """
    source, size = indexed(dataset), count_samples(dataset)
    if source is None or not size or (size > MOST and not are_columns(source)):
        return None
    stored, labels = _stored(source), listed_labels(source)
    try:
        if stored is None or labels is None:
            total = sum(samples_sum(batch.x.detach(), batch.y, batch.ids) for batch in batches(dataset, ROWS))
            return size, samples_sha256(total), "inputs"
        with foreign("the data"):
            return size, samples_sha256(sum(_sum(place, int(labels[place]), stored) for place in range(size))), "files"
    except RobustkitError:
        return None


def _stored(source: Any) -> Callable[[int], bytes] | None:
    """Returns what reads the file of a sample, where data lie in files of their own."""
    if isinstance(source, Relabelled) and (inner := _stored(source.source)):
        return lambda place: inner(int(source.rows[place]))
    found: Callable[[int], bytes] | None = getattr(source, "stored", None)
    return found


def _sum(place: int, label: int, stored: Callable[[int], bytes]) -> int:
    return int.from_bytes(hashlib.sha256(f"{place}/{label}/".encode() + stored(place)).digest(), "big")
