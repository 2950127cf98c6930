"""Whether data give the same samples every time they are read, as the extras of an audit and `verify` do again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import Dataset, are_columns, batches, samples_sum

FEW = 32  # samples that are read twice


def steady(dataset: Dataset) -> Dataset:
    """Returns data that give the same samples in the same order every time; what can be read only once stays as it is.

    A loader that shuffles is read in the order of its data set, and one that drops its last batch to the end; the notes
    say so. Of other data the first samples, for a loader its first batch, are read twice.

    Raises:
        ConfigurationError: If the second reading gives something else.
    """
    dataset = _in_order(dataset)
    source = dataset.source
    if isinstance(source, (Iterator, TensorDataset)) or are_columns(source):
        return dataset
    if _first(dataset) != _first(dataset):
        raise ConfigurationError(
            f"data '{dataset.name}': expected the same samples every time, got others the second time; use the test"
            " transform, without random steps, shuffle=False, and something that can be read again"
        )
    return dataset


def _first(dataset: Dataset) -> int | None:
    """Returns a hash of the first samples; None where there are none."""
    stream = batches(dataset, FEW, FEW)
    try:
        batch = next(stream, None)
    finally:
        stream.close()  # type: ignore[attr-defined]
    return None if batch is None else samples_sum(batch.x.detach(), batch.y, batch.ids)


def _in_order(dataset: Dataset) -> Dataset:
    """Returns the data with a loader of fixed order, of all samples, in place of one that shuffles or drops some."""
    loader: Any = dataset.source
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) not in (BatchSampler, type(None)):
        return dataset
    sampler: Any = loader.sampler
    order: Sequence[int] | None = None
    if type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == len(sampler.data_source):
        why = "the loader shuffles; its samples were read in the order of its data set"
    elif type(sampler) is SubsetRandomSampler:
        why, order = "the loader shuffles; its samples were read in the order of its indices", sampler.indices
    elif type(sampler) is SequentialSampler and loader.drop_last:
        why = "the loader drops its last batch; all samples were read"
    else:
        return dataset
    kept = ("batch_size", "collate_fn", "num_workers", "worker_init_fn", "multiprocessing_context")
    again: Any = DataLoader(loader.dataset, sampler=order, **{name: getattr(loader, name) for name in kept})
    return dataclasses.replace(dataset, source=again, notes=(*dataset.notes, why))
