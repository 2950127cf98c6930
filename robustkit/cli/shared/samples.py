"""Samples for the commands that fit something: some to fit on, others to judge by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustkit.base.errors import ConfigurationError

if TYPE_CHECKING:
    from robustkit.data.dataset import Batch, Dataset


def read(dataset: Dataset, limit: int | None) -> Batch:
    """Returns all samples, or the first `limit`, as one batch."""
    from robustkit.data.dataset import batches

    return next(iter(batches(dataset, limit or 2**31, limit)))


def halves(batch: Batch, share: float, seed: int) -> tuple[Batch, Batch]:
    """Returns a random share of the samples to fit on, and the others.

    Raises:
        ConfigurationError: If one of the two would be empty.
    """
    import torch

    from robustkit.data.dataset import Batch

    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))
    size = round(share * len(batch))
    if not 0 < size < len(batch):
        raise ConfigurationError(
            f"--fit-share: expected some of {len(batch)} samples on both sides, got {size} to fit on; use 0.5"
        )
    first, second = (Batch(batch.x[part], batch.y[part], batch.ids[part]) for part in (order[:size], order[size:]))
    return first, second
