"""The training samples: which are held out, and in which order the others come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.settings import integer
from robustkit.data.as_dataset import as_dataset
from robustkit.data.dataset import Batch, Dataset, check_bounds, read_ids
from robustkit.data.labels import as_labels
from robustkit.data.places import Located, locate
from robustkit.data.sampling import codes, stratified
from robustkit.defenses.training.inputs import Inputs
from robustkit.defenses.training.recipe import Recipe
from robustkit.defenses.training.training_mode import memory_format
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier
from robustkit.model.inputs import inputs
from robustkit.model.unpacked import refuse_several

_DECODED = 1024  # samples that are hashed where inputs are not in memory
_TOGETHER = 2**26  # bytes of inputs that are measured or hashed together, if a batch is less


@dataclass(frozen=True)
class Samples:
    """Inputs (N, ...), in memory or unread, labels (N,) and ids (N,)."""

    x: Tensor | Inputs
    y: Tensor
    ids: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Tensor) -> Samples:
        """Returns the samples at these positions, unread if they are."""
        x = self.x.only(index) if isinstance(self.x, Inputs) else self.x[index]
        return Samples(x, self.y[index], self.ids[index])

    def in_usual_order(self) -> Samples:
        """Returns the same, with inputs that are not channels_last in memory."""
        usual = self.x.laid_out(None) if isinstance(self.x, Inputs) else self.x.contiguous()
        return Samples(usual, self.y, self.ids)

    def batches(self, order: Sequence[Tensor]) -> Iterator[Batch]:
        """Yields the samples at each of some lists of positions, on the device of the model."""
        read = self.x.batches(order) if isinstance(self.x, Inputs) else (self.x[index] for index in order)
        for x, index in zip(read, order, strict=True):
            yield Batch(x, self.y[index].to(x.device), self.ids[index].to(x.device))

    def parts(self, batch_size: int) -> Iterator[Batch]:
        """Yields all samples, as many at a time as make up 64 MB, but a batch at least."""
        if len(self):
            row = self.x[:1]
            size = max(batch_size, _TOGETHER // max(row.numel() * row.element_size(), 1))
            yield from self.batches(torch.arange(len(self), device="cpu").split(size))  # type: ignore[no-untyped-call]

    def sample(self, count: int, seed: int) -> Samples:
        """Returns `count` samples drawn with every class in proportion, or all."""
        if count >= len(self):
            return self
        return self.take(torch.from_numpy(stratified(codes(self.y), count, seed)))

    def split(self, share: float, seed: int) -> tuple[Samples, Samples]:
        """Returns the samples to train on and those held out; (seed, id) decides where one goes."""
        held = min(round(share * len(self)), len(self) - 1)
        turn = _shuffled(self.ids, seed, "held out", 0)
        return self.take(turn[held:].sort().values), self.take(turn[:held].sort().values)

    def order(self, seed: int, epoch: int, batch_size: int) -> list[Tensor]:
        """Returns the positions of every batch of an epoch; (seed, epoch, id) decides who comes when."""
        batches = list(_shuffled(self.ids, seed, "order", epoch).split(batch_size))  # type: ignore[no-untyped-call]
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches

    def shares(self) -> list[float]:
        """Returns the share of every class."""
        return (torch.bincount(self.y).double() / len(self)).tolist()

    def sha256(self) -> str:
        """Returns the SHA-256 over ids, labels and inputs; of those that have to be decoded, over a sample of them."""
        digest = hashlib.sha256()
        for tensor in (self.ids, self.y):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        seen = self if not isinstance(self.x, Inputs) or self.x.in_memory else self.sample(_DECODED, 0)
        for part in seen.parts(1):
            digest.update(part.x.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def read_samples(
    classifier: Classifier, x: Any, y: Any, ids: Any, recipe: Recipe, num_workers: int | None = None
) -> tuple[Samples, int]:
    """Returns the samples, laid out as they are trained on, and the number of classes.

    Args:
        classifier: The model.
        x: Inputs (N, ...); or samples in any form that `robustkit.data.batches` reads.
        y: Labels (N,), or None where `x` has them.
        ids: Sample ids, or None for those of the samples, else the positions.
        recipe: Whether images are laid out channels_last.
        num_workers: Processes that read ahead; None for as many as a DataLoader given as `x` has.

    Raises:
        ConfigurationError: If the ids are not one per sample and different, a second reading gives something else, or
            the data are in other bounds than the model.
        InvalidEvaluation: If the data leave the bounds or labels are no classes.
    """
    refuse_several("fit", classifier.module)
    located = _located(classifier, x) if y is None else _in_columns(classifier, x, y)
    if num_workers is None:
        num_workers = getattr(x.source if isinstance(x, Dataset) else x, "num_workers", 0)
    read = Inputs(classifier, located, integer("fit", "num_workers", num_workers, 0))
    example = read[:4]
    with classifier.frozen():
        classes = classifier.classes(example)
    read.check()
    labels = as_labels(located.y, classes)
    if len(labels) != len(read):
        raise InvalidEvaluation(f"fit: expected one label per sample, got {len(labels)} for {len(read)}; give one each")
    own = located.ids if ids is None else ids
    return Samples(read.laid_out(memory_format(recipe, example)), labels, sample_ids(own, len(read))), classes


def _in_columns(classifier: Classifier, x: Any, y: Any) -> Located:
    """Returns inputs and labels that are columns; raises InvalidEvaluation if there are no inputs."""
    if not isinstance(x, (Tensor, np.ndarray)) or x.ndim == 0 or not len(x):
        x = inputs(x, classifier.bounds)
    labels = as_labels(y).cpu()
    return Located((x, labels), torch.arange(len(x), device="cpu"), labels)


def _located(classifier: Classifier, data: Any) -> Located:
    """Returns where the samples of data in any form are."""
    dataset = as_dataset(data, classifier.bounds)
    check_bounds("fit", dataset, classifier.bounds)
    return locate(dataset)


def sample_ids(ids: Any, count: int) -> Tensor:
    """Returns one id per sample: those given, or the positions.

    Raises:
        ConfigurationError: If there are not `count` different ones from 0.
    """
    if ids is None:
        return torch.arange(count, device="cpu")
    if not isinstance(ids, Tensor) or ids.is_floating_point():
        ids = read_ids(ids, count)[0]
    different = len(set(ids.tolist()))
    if not len(ids) == different == count or bool((ids < 0).any()):
        raise ConfigurationError(
            f"fit: expected {count} different ids from 0, one per sample, got {len(ids)}, {different} of them"
            " different; correct them"
        )
    return torch.as_tensor(ids, dtype=torch.int64, device="cpu")


def _shuffled(ids: Tensor, seed: int, name: str, epoch: int) -> Tensor:
    zero = torch.zeros_like(ids)
    return Stream(seed, name).uniform((1,), ids, zero, zero + epoch).flatten().argsort(stable=True)
