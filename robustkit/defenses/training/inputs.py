"""Training inputs that stay where they are, as they are stored, until a batch of them is needed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, RobustkitError, one_line
from robustkit.base.per_coordinate import Bounds, ends_on
from robustkit.data.dataset import are_columns
from robustkit.data.places import Located, read_inputs
from robustkit.model.classifier import Classifier
from robustkit.model.inputs import inputs

_FIRST = 32
_CHECKED = 1024  # rows of columns that are looked at together


class Inputs:
    """Inputs (N, ...); what is taken out of them by `[positions]` lies on the model's device, ready to train on.

    At most one batch is in memory for whoever trains, and two for each process that reads ahead. Bytes stay bytes until
    they are on the device: with bounds 0..1 they are grey levels, which are divided by 255.

    Args:
        classifier: The model.
        located: Where they are.
        num_workers: Processes that read ahead; those in columns need none.
    """

    def __init__(self, classifier: Classifier, located: Located, num_workers: int = 0) -> None:
        self.classifier, self.places = classifier, located.places
        self.layout: torch.memory_format | None = None
        self.num_workers = 0 if are_columns(located.source) else num_workers
        self._reader = _Reader(located, classifier.bounds)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Tensor:
        return self._ready(self._reader.read(self.places[index]))

    @property
    def in_memory(self) -> bool:
        """Whether they are columns, of which any rows are at hand."""
        return are_columns(self._reader.source)

    def only(self, index: Tensor) -> Inputs:
        """Returns those at these positions, unread."""
        other = copy.copy(self)
        other.places = self.places[index]
        return other

    def laid_out(self, layout: torch.memory_format | None) -> Inputs:
        """Returns the same in a memory format; None is the usual one."""
        other = copy.copy(self)
        other.layout = layout
        return other

    def batches(self, order: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yields those at each of some lists of positions; the workers read ahead.

        Raises:
            ConfigurationError: If a worker ends without a word.
        """
        if not self.num_workers:
            yield from (self[index] for index in order)
            return
        loader: Any = DataLoader(
            self._reader,
            batch_sampler=[self.places[index].tolist() for index in order],
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
            pin_memory=self.classifier.device.type == "cuda",
            generator=torch.Generator(),  # leaves torch's own where it is
        )
        read = iter(loader)
        for _ in order:
            try:
                item = next(read)
            except RuntimeError as error:
                raise ConfigurationError(
                    f"fit: expected {self.num_workers} processes that read samples, got {one_line(error)}; use fewer"
                    " num_workers (0 reads in the process that trains)"
                ) from error
            if isinstance(item, RobustkitError):
                raise item
            yield self._ready(item)

    def check(self) -> None:
        """Raises InvalidEvaluation if columns hold what the model may not be given, or bytes that are no grey levels.

        What is not in columns is looked at when it is read, except for the first samples.
        """
        first = self._reader.read(self.places[:_FIRST])
        if first.dtype == torch.uint8 and not self._reader.stored and int(first.max()) <= 1:
            raise InvalidEvaluation(
                f"fit: expected bytes that are grey levels 0..255, got none above 1 in the first {len(first)} samples;"
                " give x.float(), or x.float() / 255 if they are"
            )
        starts = range(0, len(self), _CHECKED) if self.in_memory else ()
        for start in starts:
            self._reader.read(self.places[start : start + _CHECKED])

    def _ready(self, x: Tensor) -> Tensor:
        classifier = self.classifier
        x = x.detach().to(classifier.device, non_blocking=True)
        x = x.float().div_(255) if x.dtype == torch.uint8 else x
        x = x.to(classifier.dtype)
        x = x.clamp_(*ends_on(classifier.bounds, x))
        return x.contiguous(memory_format=self.layout or torch.contiguous_format)


class _Reader(torch.utils.data.Dataset[Any]):
    """Reads and checks inputs by their places; in what it returns, bytes are grey levels."""

    def __init__(self, located: Located, bounds: Bounds) -> None:
        self.source, self.bounds = located.source, bounds
        self.stored = located.grey
        self.grey = located.grey or bounds == (0.0, 1.0)

    def read(self, places: Tensor) -> Tensor:
        """Returns the inputs at these places."""
        x = read_inputs(self.source, places)
        if x.dtype == torch.uint8 and self.grey:
            return x
        return inputs(x.float() if x.dtype == torch.uint8 and self.bounds == (0.0, 255.0) else x, self.bounds)

    def __getitems__(self, places: list[int]) -> Tensor | RobustkitError:
        """Returns the same in a worker, or the error, which would arrive as many lines if it were raised there."""
        try:
            return _packed(self.read(torch.tensor(places, device="cpu")))
        except RobustkitError as error:
            return error

    def __getitem__(self, place: int) -> Tensor:
        return self.read(torch.tensor([place], device="cpu"))[0]


def _packed(x: Tensor) -> Tensor:
    """Returns floats that are grey levels of 8 bits, as decoded pictures are, as bytes, a quarter as long."""
    if x.dtype != torch.float32 or _levels(x[:1]) is None:
        return x
    return levels if (levels := _levels(x)) is not None else x


def _levels(x: Tensor) -> Tensor | None:
    levels = x.mul(255).round_().to(torch.uint8)
    return levels if levels.float().div_(255).equal(x) else None


def _as_it_is(item: Any) -> Any:
    return item
