"""Adversarial training with PGD."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from robustkit.attack import Attack
from robustkit.attacks.pgd import PGD
from robustkit.classifier import Classifier
from robustkit.defense import Objective
from robustkit.engine import craft


@dataclass(frozen=True, kw_only=True)
class PGDTraining(Objective):
    """Cross entropy on the points that PGD makes from the batch.

    Madry et al. 2018, arXiv 1706.06083, equation 2.1. The inner attack sees the model in eval mode and leaves its
    BatchNorm statistics alone (Pang et al. 2021, arXiv 2010.00467, section 3.3, find eval mode better).

    Attributes:
        attack: The inner attack; its last point is used.
    """

    attack: Attack = field(default_factory=lambda: PGD(steps=10, step_size="2/255"))

    name: ClassVar[str] = "pgd-at"
    source: ClassVar[str] = "Madry et al. 2018, arXiv 1706.06083"

    def loss(self, classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Returns the mean cross entropy on adversarial inputs."""
        with classifier.frozen():
            x_adv = craft(self.attack, classifier, x, self.attack.goal(y), ids, seed)
        return cross_entropy(classifier.logits(x_adv), y)
