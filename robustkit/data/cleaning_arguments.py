"""What `clean` can be given, checked before it looks at a sample."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType

import numpy as np
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.settings import instance, interval, shown
from robustkit.data.dataset import Batch
from robustkit.data.suspicious import Array, Indices

Predict = Callable[[Tensor, Tensor, Indices], Array]


def check_arguments(train: Batch, test: Batch | None, bounds: tuple[float, float]) -> None:
    """Raises ConfigurationError or InvalidEvaluation where these do not fit together."""
    instance("clean-data", "train", train, Batch)
    instance("clean-data", "test", test, Batch, NoneType)
    interval("clean-data", "bounds", bounds)
    if not len(train):
        raise InvalidEvaluation("clean-data: expected at least one training sample, got none; give it data")
    if test is not None and test.x.shape[1:] != train.x.shape[1:]:
        raise ConfigurationError(
            f"clean-data: expected test inputs of shape {tuple(train.x.shape[1:])} as in training, got"
            f" {tuple(test.x.shape[1:])}; resize them"
        )


def check_probabilities(p: object, train: Batch) -> None:
    """Raises ConfigurationError where these are no probabilities (N, K) of the classes of all samples."""
    if not _fit(p, train):
        raise ConfigurationError(
            f"clean-data: expected probabilities ({len(train)}, {int(train.y.max()) + 1} or more), one row for each"
            f" sample, got {shown(p)}; predict all samples in their order"
        )


def _fit(p: object, train: Batch) -> bool:
    if not isinstance(p, np.ndarray) or p.ndim != 2 or len(p) != len(train) or p.shape[1] <= int(train.y.max()):
        return False
    return bool(((p >= 0) & (p <= 1)).all())


def as_function(probabilities: Array | Predict, bounds: tuple[float, float], rows: Indices) -> Predict:
    """Returns what gives the probabilities of the samples in these rows, for inputs that may leave the bounds.

    One that does is an issue, not the end of the search.
    """
    if callable(probabilities):
        return lambda x, y, groups: probabilities(x.clamp(*bounds), y, groups)
    return lambda x, y, groups: probabilities[rows]
