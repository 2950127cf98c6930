"""Which samples a command looks at; for those that fit something, some to fit on and others to judge by."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from robustkit.base.errors import ConfigurationError

if TYPE_CHECKING:
    from robustkit.data.dataset import Batch, Dataset


@dataclasses.dataclass(frozen=True)
class Choice:
    """What --limit and --first say: the same samples for every command with the same seed.

    Raises:
        ConfigurationError: If both were typed.
    """

    limit: int | None = None
    first: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.first is not None:
            raise ConfigurationError("expected --limit (drawn at random) or --first, got both; give one of them")

    def of(self, dataset: Dataset, seed: int) -> Dataset:
        """Returns the chosen samples of the data."""
        from robustkit.data.sampling import sampled

        return sampled(dataset, self.limit, self.first, seed)


def read(dataset: Dataset) -> Batch:
    """Returns all samples as one batch."""
    from robustkit.data.dataset import batches

    return next(batches(dataset, 2**31))


def halves(batch: Batch, share: float, seed: int) -> tuple[Batch, Batch]:
    """Returns a random share of the samples to fit on, and the others.

    Raises:
        ConfigurationError: If one of the two would be empty.
    """
    import torch

    from robustkit.data.dataset import Batch

    order = torch.randperm(len(batch), device="cpu", generator=torch.Generator().manual_seed(seed))
    size = round(share * len(batch))
    if not 0 < size < len(batch):
        raise ConfigurationError(
            f"--fit-share: expected some of {len(batch)} samples on both sides, got {size} to fit on; use 0.5"
        )
    first, second = (Batch(batch.x[part], batch.y[part], batch.ids[part]) for part in (order[:size], order[size:]))
    return first, second
