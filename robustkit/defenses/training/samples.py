"""The training samples: which are held out, and in which order the others come."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.as_dataset import as_dataset
from robustkit.data.dataset import batches, check_bounds, read_ids
from robustkit.data.labels import as_labels
from robustkit.data.sampling import codes, stratified
from robustkit.defenses.training.recipe import Recipe
from robustkit.defenses.training.training_mode import memory_format
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier


@dataclass(frozen=True)
class Samples:
    """Inputs (N, ...), labels (N,) and ids (N,), on one device."""

    x: Tensor
    y: Tensor
    ids: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Tensor) -> Samples:
        """Returns the samples at these positions."""
        return Samples(self.x[index], self.y[index], self.ids[index])

    def sample(self, count: int, seed: int) -> Samples:
        """Returns `count` samples drawn with every class in proportion, or all."""
        if count >= len(self):
            return self
        return self.take(torch.from_numpy(stratified(codes(self.y), count, seed)).to(self.y.device))

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
        """Returns the SHA-256 over ids, labels and inputs."""
        digest = hashlib.sha256()
        for tensor in (self.ids, self.y, self.x):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def read_columns(classifier: Classifier, data: Any, ids: Any = None) -> tuple[Tensor, Tensor, Any]:
    """Returns inputs, labels and ids of data in any form that `robustkit.data.batches` reads; `ids` take precedence.

    Raises:
        ConfigurationError: If a second reading gives something else, or the data are in other bounds than the model.
        InvalidEvaluation: If there are no samples with labels in it.
    """
    dataset = as_dataset(data, classifier.bounds)
    check_bounds("fit", dataset, classifier.bounds)
    batch = next(batches(dataset, 2**31))
    return batch.x, batch.y, batch.ids if ids is None else ids


def read_samples(
    classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor | None, recipe: Recipe
) -> tuple[Samples, int]:
    """Returns checked samples on the device of the model, laid out as they are trained on, and the number of classes.

    Raises:
        ConfigurationError: If the ids are not one per sample and different.
        InvalidEvaluation: If the data leave the bounds or labels are no classes.
    """
    x = classifier.accept(x)
    with classifier.frozen():
        classes = classifier.classes(x[:4])
    x = x.contiguous(memory_format=layout) if (layout := memory_format(recipe, x)) else x
    if len(labels := as_labels(y, classes)) != len(x):
        raise InvalidEvaluation(f"fit: expected one label per sample, got {len(labels)} for {len(x)}; give one each")
    return Samples(x, labels.to(x.device), sample_ids(ids, len(x), x.device)), classes


def sample_ids(ids: Tensor | None, count: int, device: torch.device) -> Tensor:
    """Returns one id per sample on `device`: those given, or the positions.

    Raises:
        ConfigurationError: If there are not `count` different ones from 0.
    """
    if ids is None:
        return torch.arange(count, device=device)
    if not isinstance(ids, Tensor) or ids.is_floating_point():
        ids = read_ids(ids, count)[0]
    different = len(set(ids.tolist()))
    if not len(ids) == different == count or bool((ids < 0).any()):
        raise ConfigurationError(
            f"fit: expected {count} different ids from 0, one per sample, got {len(ids)}, {different} of them"
            " different; correct them"
        )
    return ids.to(device, torch.int64)


def _shuffled(ids: Tensor, seed: int, name: str, epoch: int) -> Tensor:
    zero = torch.zeros_like(ids)
    return Stream(seed, name).uniform((1,), ids, zero, zero + epoch).flatten().argsort(stable=True)
