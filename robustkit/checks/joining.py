"""The classes of the data joined to the outputs of the model: what every entry does before it reads labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from robustkit.base.per_coordinate import Bounds
from robustkit.base.settings import every, instance
from robustkit.checks.first_pass import ROWS, count_outputs
from robustkit.data.as_dataset import as_dataset
from robustkit.data.dataset import Dataset, batches
from robustkit.data.join_classes import ClassMap, real_names
from robustkit.data.remapped_labels import joined
from robustkit.model.classifier import Classifier, as_classifier


def join_classes(
    classifier: Classifier, data: Any, class_map: ClassMap | None = None, selected: Sequence[str] | None = None
) -> Dataset:
    """Returns the data with labels that are outputs of the model, as they are where nobody named a class.

    Names that data and model both have decide; see `robustkit.data.join_classes.join` for what does otherwise. Samples
    keep the ids that they have in the whole data, and the notes of the data say what was done.

    Args:
        classifier: The model; without `num_classes` it is asked about the first samples.
        data: As for `robustkit.evaluate`.
        class_map: Classes of the data with names or numbers of outputs, or "position", "from-1" or "text-order".
        selected: Only these classes of the data, by name or index.

    Raises:
        ConfigurationError: If a class has no output, or could be more than one; the message says what could be meant.
        InvalidEvaluation: If the model cannot be asked.
    """
    classifier = as_classifier(classifier)
    if class_map is not None:
        instance("classes", "class_map", class_map, str, Mapping, fix="give names with outputs, or a reading")
    if selected is not None:
        every("classes", "selected", selected, str)
    dataset = as_dataset(data, classifier.bounds)
    asked = class_map is not None or selected is not None
    names = tuple(dataset.class_names) if dataset.class_names else None
    same = names == classifier.class_names and classifier.num_classes in (None, len(names or ()))
    if not asked and (names is None or same):
        return dataset
    dataset, count = _outputs(classifier, dataset)
    return joined(dataset, count, classifier.class_names, class_map, selected)


def labelled(data: Any, names: Sequence[str], bounds: Bounds = (0.0, 1.0)) -> Dataset:
    """Returns data with the labels of a report, which names the outputs.

    Args:
        data: As for `robustkit.evaluate`.
        names: Of the outputs.
        bounds: Of the inputs, where the data do not say so themselves.

    Raises:
        ConfigurationError: If a class has no output, or could be more than one.
    """
    dataset = as_dataset(data, bounds)
    if dataset.class_names in (None, tuple(names)) or not real_names(names):
        return dataset
    return joined(dataset, len(names), names)


def _outputs(classifier: Classifier, dataset: Dataset) -> tuple[Dataset, int]:
    """Returns the data, to be read from their start, and how many outputs the model has."""
    if classifier.num_classes is not None:
        return dataset, classifier.num_classes
    source = dataset.source
    if isinstance(source, Iterator):
        first = [*islice(source, 1)]
        dataset = dataclasses.replace(dataset, source=chain(first, source))
        source = first
    return dataset, count_outputs(classifier, next(batches(source, ROWS, ROWS)).x)
