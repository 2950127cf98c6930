"""Ordinary training, the baseline of every defense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from robustkit.base.settings import between
from robustkit.defenses.base import Minibatch, Objective
from robustkit.model.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Standard(Objective):
    """Cross entropy on the clean samples.

    Attributes:
        label_smoothing: Share of the label mass spread over all classes, in 0..1 (Szegedy et al. 2016,
            arXiv 1512.00567, section 7).
    """

    label_smoothing: float = 0.0

    name: ClassVar[str] = "standard"
    source: ClassVar[str] = "-"

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self.name, "label_smoothing", self.label_smoothing, "[0, 1]")

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns the mean cross entropy."""
        return cross_entropy(classifier.logits(x_adv), batch.y, label_smoothing=self.label_smoothing)
