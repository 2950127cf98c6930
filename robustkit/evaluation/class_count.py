"""How many classes a model has, where only its output tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from robustkit.base.errors import ConfigurationError
from robustkit.checks.first_pass import count_outputs
from robustkit.data.as_dataset import as_dataset
from robustkit.data.dataset import Dataset, batches
from robustkit.model.classifier import Classifier

_MOST_GUESSED = 100_000  # classes that a model is given because one label says so


def count_classes(who: str, classifier: Classifier, data: Any) -> int:
    """Returns the number of classes, asking the model about the first samples if it is not known yet.

    Raises:
        ConfigurationError: If the data can be read only once.
        InvalidEvaluation: If there are none.
    """
    if classifier.num_classes is not None:
        return classifier.num_classes
    if isinstance(data.source if isinstance(data, Dataset) else data, Iterator):
        raise ConfigurationError(
            f"{who}: expected data that can be read twice, got an iterator; give a list, a data set or a loader, or a"
            " Classifier with num_classes"
        )
    first = next(batches(as_dataset(data, classifier.bounds), 4, 4))
    return count_outputs(classifier, first.x)


def guessed_classes(dataset: Dataset) -> int:
    """Returns how many classes data seem to have: one more than the largest label.

    Raises:
        ConfigurationError: If that is so large that one wrong label may be the reason.
    """
    guessed = 1 + max(int(batch.y.max()) for batch in batches(dataset, 1024))
    if guessed > _MOST_GUESSED:
        raise ConfigurationError(
            f"--classes: expected it, because the labels of '{dataset.name}' go up to {guessed - 1}, which may be no"
            " class; give the number of classes, or correct the labels"
        )
    return guessed
