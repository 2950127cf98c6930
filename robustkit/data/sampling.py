"""Which samples are looked at: all of them, the first, or a random sample with every class in proportion."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, SequentialSampler, Subset, TensorDataset, default_collate

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import instance, integer
from robustkit.base.settings import seed as whole_seed
from robustkit.data.dataset import (
    FIELD_NAMES,
    Dataset,
    are_columns,
    count_samples,
    fields_of,
    holds_samples,
    read_ids,
)

Places = NDArray[np.int64]
ONE_BY_ONE = ", as these data cannot be indexed for a random sample"


def sampled(dataset: Dataset, limit: int | None = None, first: int | None = None, seed: int = 0) -> Dataset:
    """Returns a random sample of `limit` samples, or the first ones, in the order of the data; ids stay as they are.

    The random sample has every class in proportion (see `stratified`) and depends on labels, `limit` and `seed` alone.
    Labels are taken from the source where it lists them (`targets`, `labels`, arrays), else read with their inputs.
    Data that cannot be indexed give the first samples instead, which their `selection` says.

    Args:
        dataset: Where the samples come from.
        limit: How many samples to draw; all where there are no more.
        first: How many samples to take from the start instead.
        seed: Of the draw.

    Raises:
        ConfigurationError: If both numbers are given, or one is no whole number from 1.
    """
    instance("data", "dataset", dataset, Dataset, fix="wrap it: Dataset(name=..., source=...)")
    seed = whole_seed("data", seed)
    for name, count in (("limit", limit), ("first", first)):
        if count is not None:
            integer("data", name, count)
    if limit is not None and first is not None:
        raise ConfigurationError(
            f"data: expected limit (a random sample) or first (the first ones), got both ({limit}, {first}); give one"
        )
    count = limit or first
    if count is None:
        return dataset
    whole, size = indexed(dataset), count_samples(dataset)
    if whole is not None and size is not None and count >= size:
        return dataset
    if limit is None or whole is None or size is None:
        why = "" if limit is None else ONE_BY_ONE
        said = f"the first {count} samples{why}"
        return dataclasses.replace(dataset, first=count, selection=said, whole=dataset.whole or dataset)
    drawn = _picked(dataset, whole, stratified(codes(_labels(whole)[:size]), limit, seed))
    return dataclasses.replace(drawn, selection=f"{limit} of {size} samples, stratified by class (seed {seed})")


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """Returns the data in random order, ids staying with their samples; unchanged where they cannot be indexed.

    Args:
        dataset: What to shuffle; arrays, map-style data sets and lists of samples can be.
        seed: Of the order.
    """
    whole, size = indexed(dataset), count_samples(dataset)
    if whole is None or size is None:
        note = "samples came in the order given, so the interval holds only if that is random"
        return dataclasses.replace(dataset, notes=(*dataset.notes, note))
    mixed = _picked(dataset, whole, np.random.default_rng(seed).permutation(size))
    return dataclasses.replace(mixed, notes=(*dataset.notes, f"in random order (seed {seed})"))


def narrowed(dataset: Dataset, ids: Collection[int]) -> Dataset:
    """Returns the samples with these ids, read without the others where ids are places in the data; else all data."""
    whole, size = indexed(dataset), count_samples(dataset)
    if whole is None or not size or not ids or max(ids) >= size:
        return dataset
    own = whole[2] if are_columns(whole) and len(whole) > 2 else None
    if not are_columns(whole):
        own = fields_of(whole[0])[2]
    return dataset if own is not None else _picked(dataset, whole, np.array(sorted(ids)))


def at_places(dataset: Dataset, places: Places) -> Dataset | None:
    """Returns the samples at these places, with the ids they have among all; None where data cannot be indexed."""
    whole = indexed(dataset)
    return None if whole is None else _picked(dataset, whole, places)


def places_only(dataset: Dataset, labelled: bool = True) -> Dataset | None:
    """Returns the data as columns with places for inputs, so that samples can be chosen unread; None without an index.

    Args:
        dataset: The data.
        labelled: Whether labels matter, which may have to be read with their inputs.
    """
    whole, size = indexed(dataset), count_samples(dataset)
    if whole is None or not size:
        return None
    places = np.arange(size)
    if are_columns(whole):
        own = whole[2] if len(whole) > 2 else None
    else:
        own = None if fields_of(whole[0])[2] is None else [fields_of(whole[place])[2] for place in range(size)]
    ids = places if own is None else read_ids(own, len(own))[0].numpy()[:size]
    labels = _labels(whole)[:size] if labelled else places
    return dataclasses.replace(dataset, source=(places, labels, ids), first=None)


def stratified(classes: Places, count: int, seed: int) -> Places:
    """Returns the places of a random sample of `count` samples, ascending, in which every class has its share.

    Shares are rounded by largest remainders. A class that would have none gets one sample where `count` allows, at
    the cost of the class that loses least.

    Args:
        classes: Class of every sample (N,), from 0, each with a sample.
        count: At most N.
        seed: Of the draw.
    """
    random = np.random.default_rng([seed, 1])
    rank = random.random(len(classes))  # a larger sample therefore mostly contains the smaller ones
    sizes = np.bincount(classes)
    quota, remainder = np.divmod(count * sizes, len(classes))
    if count >= len(sizes):
        remainder = remainder - np.maximum(1 - quota, 0) * len(classes)
        quota = np.maximum(quota, 1)
    order = np.lexsort((random.random(len(sizes)), -remainder))  # equal remainders are drawn among
    missing = count - int(quota.sum())
    if missing >= 0:
        quota[order[:missing]] += 1
    for _ in range(-missing):
        able = order[quota[order] > 1]
        quota[able[-1]] -= 1
        remainder[able[-1]] += len(classes)
        order = np.argsort(-remainder, kind="stable")
    chosen = [np.flatnonzero(classes == k) for k in range(len(sizes))]
    kept = [places[np.argsort(rank[places])[:few]] for places, few in zip(chosen, quota, strict=True)]
    return np.sort(np.concatenate(kept))


def indexed(dataset: Dataset) -> Any:
    """Returns columns, or something of which `[i]` is sample i; None where the source of the data is neither.

    A loader stands for its data set where it does nothing but batch it.
    """
    source = dataset.source.dataset if _only_batches(dataset.source) else dataset.source
    return source if are_columns(source) or holds_samples(source) else None


def _only_batches(source: Any) -> bool:
    """Whether a source is a loader that puts the samples of its data set into batches and does nothing else."""
    if not isinstance(source, DataLoader) or not isinstance(source.sampler, SequentialSampler):
        return False
    return source.collate_fn is default_collate and not source.drop_last and source.batch_size is not None


def _picked(dataset: Dataset, whole: Any, places: Places) -> Dataset:
    """Returns the samples at `places` of `whole`, which `indexed` made of the data, with the ids they have there."""
    if are_columns(whole):
        ids = whole[2] if len(whole) > 2 else np.arange(len(whole[0]))
        source: Any = tuple(_take(column, places) for column in (whole[0], whole[1], ids))
    else:
        source = Picked(whole, places)
        if isinstance(dataset.source, DataLoader) and dataset.source.num_workers:
            source = DataLoader(source, dataset.source.batch_size, num_workers=dataset.source.num_workers)
    return dataclasses.replace(dataset, source=source, first=None, whole=dataset.whole or dataset)


class Picked:
    """A map-style data set of some samples of another; those without an id get the number of their place there."""

    def __init__(self, source: Any, places: Places) -> None:
        self.source, self.places = source, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Any, Any, Any]:
        place = int(self.places[index])
        x, y, id = fields_of(self.source[place])
        return x, y, place if id is None else id


def _take(column: Any, places: Any) -> Any:
    if isinstance(column, (list, tuple)):
        return [column[int(place)] for place in places]
    return column[torch.as_tensor(places, device="cpu")] if isinstance(column, Tensor) else np.asarray(column)[places]


def _labels(source: Any) -> Any:
    """Returns the label of every sample of an indexed source."""
    listed = listed_labels(source)
    return [fields_of(source[place])[1] for place in range(len(source))] if listed is None else listed


def listed_labels(source: Any) -> Any:
    """Returns the labels where they are known without reading an input; None where they are not."""
    if are_columns(source):
        return source[1]
    if isinstance(source, (Picked, Subset)):
        known = listed_labels(source.source if isinstance(source, Picked) else source.dataset)
        places = source.places if isinstance(source, Picked) else source.indices
        return None if known is None else _take(known, places)
    if isinstance(source, TensorDataset):
        return source.tensors[1] if len(source.tensors) > 1 else None
    if isinstance(source, ConcatDataset):
        parts = [listed_labels(part) for part in source.datasets]
        return None if any(part is None for part in parts) else [label for part in parts for label in part]
    columns = getattr(source, "column_names", None)  # of a Hugging Face data set
    if isinstance(columns, list):
        return next((source[name] for name in FIELD_NAMES["y"] if name in columns), None)
    for name in ("targets", "labels"):
        found = getattr(source, name, None)
        if isinstance(found, (list, tuple, np.ndarray, Tensor)) and len(found) == len(source):
            return found
    return None


def codes(labels: Any) -> Places:
    """Returns a number from 0 for each distinct label, whatever labels are, in the order in which they first come."""
    if isinstance(labels, (np.ndarray, Tensor)) and labels.dtype != object:
        table = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    else:
        table = np.asarray([str(label.tolist() if hasattr(label, "tolist") else label) for label in labels])
    rows = table.reshape(len(table), -1)
    values = rows if rows.shape[1] > 1 else rows[:, 0]
    _, place, inverse = np.unique(values, axis=0, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(place))[inverse.reshape(-1)]
