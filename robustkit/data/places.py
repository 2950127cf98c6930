"""Samples read by their places in the data: in any order, and without the others."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from robustkit.base.errors import InvalidEvaluation
from robustkit.base.foreign_code import foreign
from robustkit.data.dataset import Dataset, are_columns, as_batch, batches, count_samples, fields_of, read_ids
from robustkit.data.labels import as_labels, as_tensor
from robustkit.data.remapped_labels import Relabelled, known_labels
from robustkit.data.sampling import Picked, indexed, listed_labels
from robustkit.data.spooled import Spooled

_COMPARED = 8  # samples whose labels are compared with those that the data set lists


@dataclass(frozen=True)
class Located:
    """Samples that can be read in any order.

    Attributes:
        source: Columns, or something of which `[i]` is sample i.
        places: Where each sample is in it (N,).
        y: Class indices (N,).
        ids: Sample ids (N,); None where they are the positions 0..N-1.
        grey: Whether bytes there stand for grey levels, 255 for 1.
    """

    source: Any
    places: Tensor
    y: Tensor
    ids: Tensor | None = None
    grey: bool = False

    def rows(self, index: Tensor) -> Located:
        """Returns the samples at these positions."""
        ids = None if self.ids is None else self.ids[index]
        return dataclasses.replace(self, places=self.places[index], y=self.y[index], ids=ids)

    def numbered(self) -> Located:
        """Returns the same with ids, by default the positions."""
        return self if self.ids is not None else dataclasses.replace(self, ids=torch.arange(len(self.y), device="cpu"))


def locate(dataset: Dataset) -> Located:
    """Returns where the samples are, with their labels and ids.

    Labels and ids that the data do not list are read once, with their inputs. Data that can only be read in order are
    copied to a temporary file.

    Raises:
        ConfigurationError: If there is no room for that.
        InvalidEvaluation: If labels are no class indices, or there are no samples.
    """
    whole, size = indexed(dataset), count_samples(dataset)
    if whole is None or not size:
        spooled = Spooled(dataset)
        return Located(spooled, torch.arange(len(spooled), device="cpu"), spooled.targets, spooled.ids)
    found = _located(whole)
    return found if len(found.y) <= size else found.rows(torch.arange(size, device="cpu"))


def read_inputs(source: Any, places: Tensor) -> Tensor:
    """Returns the inputs (N, ...) at these places of what `Located.source` is, with the dtype they have there.

    Raises:
        InvalidEvaluation: If something there is no sample, or samples differ in shape or dtype.
    """
    if are_columns(source):
        return _rows(source[0], places)
    inputs = []
    for place in places.tolist():
        with foreign("the data"):
            item = source[place]
        x = fields_of(item)[0]
        inputs.append(x if isinstance(x, Tensor) else as_batch(item, place, sample=True).x[0])
    if len(kinds := {(x.dtype, tuple(x.shape)) for x in inputs}) > 1:
        raise InvalidEvaluation(
            "data: expected inputs of one shape and dtype, got"
            f" {' and '.join(f'{dtype} {shape}' for dtype, shape in sorted(kinds, key=str))}; resize or convert them"
        )
    return torch.stack(inputs)


def _rows(x: Any, places: Tensor) -> Tensor:
    if isinstance(x, np.ndarray) and not x.flags.writeable:  # a file in memory, say, which as a tensor would be copied
        return torch.as_tensor(np.asarray(x)[places.numpy()], device="cpu")
    stored = as_tensor(x)
    return stored[places.to(stored.device)]


def _located(source: Any) -> Located:
    """Returns where the samples of an indexed source are in what they come from."""
    if isinstance(source, Subset):
        inner, rows = _located(source.dataset), torch.as_tensor(source.indices, device="cpu")
        return inner.rows(rows)
    if isinstance(source, Picked):
        return _located(source.source).numbered().rows(torch.as_tensor(source.places, device="cpu"))
    if isinstance(source, Relabelled):
        found = _located(source.source).numbered().rows(source.rows)
        return dataclasses.replace(found, y=source.labels)
    grey = hasattr(source, "stored_columns")
    columns = source.tensors if type(source) is TensorDataset else source.stored_columns if grey else source
    if are_columns(columns) and len(columns) in (2, 3):
        y = as_labels(columns[1]).cpu()
        ids = read_ids(columns[2], len(columns[2]))[0] if len(columns) > 2 else None
        return Located(columns, torch.arange(len(y), device="cpu"), y, ids, grey)
    return Located(source, torch.arange(len(source), device="cpu"), *_labels_and_ids(source))


def _labels_and_ids(source: Any) -> tuple[Tensor, Tensor | None]:
    """Returns the labels of a map-style data set, and its ids if it has some, read with the inputs where need be."""
    with foreign("the data"):
        numbered = fields_of(source[0])[2] is None
    y = known_labels(source) if numbered else None
    if y is None and numbered:
        y = _checked(listed_labels(source), source)
    if y is not None:
        return y, None
    read = [(batch.y.cpu(), batch.ids) for batch in batches(source, 256)]
    labels, ids = (torch.cat(column) for column in zip(*read, strict=True))
    return labels, None if numbered else ids


def _checked(listed: Any, source: Any) -> Tensor | None:
    """Returns labels that a data set lists, unless its samples come with others; None where it lists none."""
    try:
        y = None if listed is None else as_labels(listed).cpu()
    except InvalidEvaluation:
        return None
    if y is None:
        return None
    for place in torch.linspace(0, len(y) - 1, min(_COMPARED, len(y)), device="cpu").long().tolist():
        with foreign("the data"):
            item = source[place]
        if int(as_batch(item, place, sample=True).y) != int(y[place]):
            return None
    return y
