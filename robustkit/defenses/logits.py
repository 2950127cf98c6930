"""A Classifier as a module, so that it can be part of a larger one with its normalisation inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from robustkit.base.errors import InvalidEvaluation
from robustkit.base.per_coordinate import Bounds
from robustkit.base.settings import integer
from robustkit.data.labels import as_labels
from robustkit.model.classifier import Classifier, as_classifier


class Logits(nn.Module):
    """The function from inputs in `bounds` to logits that a Classifier is, as a module.

    Mean and std are buffers: they move with the module and are saved with it. The classifier itself stays as it is;
    its weights are shared.

    Args:
        classifier: A Classifier, or a bare model that takes inputs in 0..1.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, classifier: Classifier | nn.Module | Callable[[Tensor], Any]) -> None:
        super().__init__()
        given = as_classifier(classifier)
        self._classifier = given.replace(tally=given.tally)
        self.model = self._classifier.module
        self.register_buffer("mean", self._classifier.mean)
        self.register_buffer("std", self._classifier.std)

    @property
    def bounds(self) -> Bounds:
        """Lowest and highest legal input value."""
        return self._classifier.bounds

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (N, K) for inputs `x` (N, ...) in `bounds`."""
        # The module may have been moved or cast since the last pass.
        dtype = next((p.dtype for p in self.model.parameters() if p.is_floating_point()), self._classifier.model_dtype)
        self._classifier.device, self._classifier.model_dtype = x.device, dtype
        self._classifier.mean, self._classifier.std = self.mean, self.std
        return self._classifier.logits(x)


def held_out(classifier: Classifier, x: Tensor, y: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Returns logits (N, K) in float64 and labels (N,), both on the model's device: what a defense is fitted on.

    Args:
        classifier: The model; left as it was.
        x: Inputs (N, ...) in `bounds`.
        y: Labels (N,) in any form `as_labels` reads.
        batch_size: Rows the model sees at once, >= 1.

    Raises:
        ConfigurationError: If `batch_size` is below 1.
        InvalidEvaluation: If the inputs leave the bounds, or there is not one class for each.
    """
    batch_size = integer("held-out samples", "batch_size", batch_size)
    with classifier.frozen(), torch.no_grad():
        logits = torch.cat([classifier.logits(part) for part in torch.split(classifier.accept(x), batch_size)]).double()
    labels = as_labels(y, logits.shape[1]).to(logits.device)
    if len(labels) != len(logits):
        raise InvalidEvaluation(
            f"held-out samples: expected one label per sample, got {len(labels)} for {len(logits)}; give one each"
        )
    return logits, labels
