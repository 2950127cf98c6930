"""The contract of a training objective."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robustkit.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """What training minimises on one batch: a frozen value whose fields are its configuration."""

    name: ClassVar[str]
    source: ClassVar[str]

    @abstractmethod
    def loss(self, classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Returns the mean loss of a batch, a scalar that can be differentiated with respect to the weights.

        Args:
            classifier: In training mode.
            x: Clean inputs (N, ...) within the bounds, on the model's device.
            y: Labels (N,).
            ids: Sample ids (N,), which with `seed` fix all random numbers.
            seed: Differs in every epoch.
        """

    def settings(self) -> dict[str, str]:
        """Returns every field as text."""
        return {field.name: str(getattr(self, field.name)) for field in dataclasses.fields(self)}
