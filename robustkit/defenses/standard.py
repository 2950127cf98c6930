"""Ordinary training, the baseline of every defense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from robustkit.classifier import Classifier
from robustkit.defense import Objective


@dataclass(frozen=True, kw_only=True)
class Standard(Objective):
    """Cross entropy on the clean samples."""

    name: ClassVar[str] = "standard"
    source: ClassVar[str] = "-"

    def loss(self, classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Returns the mean cross entropy."""
        return cross_entropy(classifier.logits(x), y)
