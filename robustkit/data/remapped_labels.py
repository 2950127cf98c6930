"""Data whose class indices are those of a model's outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.base.errors import InvalidEvaluation
from robustkit.data.class_matching import Classes
from robustkit.data.dataset import Dataset, are_columns, batches, fields_of, holds_samples
from robustkit.data.join_classes import ClassMap, join, select
from robustkit.data.labels import as_labels, as_tensor

_LEFT_OUT = -1


def joined(
    dataset: Dataset,
    count: int,
    names: Sequence[str] | None,
    class_map: ClassMap | None = None,
    selected: Sequence[str] | None = None,
) -> Dataset:
    """Returns the data with labels that are outputs of a model, and the names of these; notes say what was done.

    Samples keep the ids they have in the whole data.

    Args:
        dataset: The data; without class names its classes are called by their numbers.
        count: How many outputs the model has.
        names: What they are called, in order, if that is known.
        class_map: As for `robustkit.data.join_classes.join`.
        selected: Only these classes of the data, by name or index.

    Raises:
        ConfigurationError: If a class has no output, or could be more than one; the message says what could be meant.
    """
    known, own = known_labels(dataset.source), dataset.class_names
    labels = _all_labels(dataset.source) if known is None and not own else known
    if labels is not None and not len(labels):
        return dataset  # whoever reads it says so
    most = 0 if labels is None else max(labels.tolist(), default=-1) + 1
    own = tuple(own or map(str, range(max(count, most))))
    if most > len(own):
        raise InvalidEvaluation(f"labels: expected 0..{len(own) - 1} for {len(own)} named classes, got {most - 1}")
    classes = Classes(
        names=own,
        present=frozenset(range(len(own)) if labels is None else labels.tolist()),
        selected=None if selected is None else select(own, selected),
        by_name=dataset.labelled_by_name,
    )
    found = join(classes, count, names, class_map)
    notes = [found.note] if found.note else []
    if classes.selected is not None:
        notes.append(f"only the classes {classes.named(classes.selected)} of {len(own)} in the data")
    return dataclasses.replace(
        relabelled(dataset, found.outputs),
        class_names=found.names,
        labelled_by_name=False,
        notes=(*dataset.notes, *notes),
    )


def relabelled(dataset: Dataset, outputs: Sequence[int | None]) -> Dataset:
    """Returns the data with label i replaced by `outputs[i]`, without the samples of classes whose output is None.

    Samples keep the ids they have in the whole data.
    """
    if list(outputs) == list(range(len(outputs))):
        return dataset
    table = torch.tensor([_LEFT_OUT if output is None else output for output in outputs], device="cpu")
    source = dataset.source
    if are_columns(source):
        changed: Any = _arrays(source, table)
    elif holds_samples(source):
        changed = Relabelled(source, table)
    else:
        stream = _Stream(source, table)
        changed = iter(stream) if isinstance(source, Iterator) else stream
    return dataclasses.replace(dataset, source=changed)


def known_labels(source: Any) -> Tensor | None:
    """Returns the labels that a data set of torchvision's or our own keeps apart from its samples, else None.

    Attributes of other classes are not trusted: what they hold need not be what comes with a sample.
    """
    if are_columns(source):
        return as_labels(source[1]).cpu()
    library = type(source).__module__.split(".")[0] in ("torchvision", "robustkit")
    known = getattr(source, "targets", getattr(source, "labels", None)) if library else None
    changed = getattr(source, "target_transform", None) is not None
    return None if known is None or changed else as_labels(known).cpu()


def _all_labels(source: Any) -> Tensor:
    return torch.cat([as_labels(batch.y).cpu() for batch in batches(source, 256)])


def _new_labels(y: Tensor, table: Tensor) -> Tensor:
    y = y.cpu()
    if len(y) and int(y.max()) >= len(table):
        raise InvalidEvaluation(f"labels: expected 0..{len(table) - 1} for {len(table)} classes, got {int(y.max())}")
    return table[y]


def _arrays(source: Sequence[Any], table: Tensor) -> tuple[Any, ...]:
    y = _new_labels(as_labels(source[1]), table)
    ids = source[2] if len(source) == 3 else np.arange(len(y))
    kept = y != _LEFT_OUT
    if kept.all():
        return source[0], y, ids
    return as_tensor(source[0])[kept], y[kept], np.asarray(ids)[kept.numpy()]


class Relabelled:
    """A map-style data set of the samples that are kept; their labels are in `labels`."""

    def __init__(self, source: Any, table: Tensor) -> None:
        known = known_labels(source)
        y = _new_labels(_all_labels(source) if known is None else known, table)
        self.source, self.rows = source, (y != _LEFT_OUT).nonzero()[:, 0]
        self.labels = y[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, int, Any]:
        row = int(self.rows[index])
        x, _, id = fields_of(self.source[row])
        return x, int(self.labels[index]), row if id is None else id


class _Stream:
    """Batches of the samples that are kept, read anew each time where the source can be."""

    def __init__(self, source: Any, table: Tensor) -> None:
        self.source, self.table = source, table

    def __iter__(self) -> Iterator[tuple[Any, Any, Any]]:
        for batch in batches(self.source, 256):
            y = _new_labels(as_labels(batch.y), self.table)
            rows = (y != _LEFT_OUT).nonzero()[:, 0]
            ids = batch.ids[rows] if batch.names is None else [batch.names[row] for row in rows.tolist()]
            if len(rows):
                yield batch.x[rows.to(batch.x.device)], y[rows], ids
