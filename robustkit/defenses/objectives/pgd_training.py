"""Adversarial training with PGD."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from robustkit.attacks.all_steps import craft
from robustkit.attacks.base import Attack
from robustkit.attacks.pgd import PGD
from robustkit.base.settings import between
from robustkit.defenses.base import Minibatch, Objective
from robustkit.model.classifier import Classifier


def training_attack() -> PGD:
    """Returns PGD-10 with steps of 2/255 at 8/255, the usual inner attack (Rice et al. 2020, arXiv 2002.11569)."""
    return PGD(steps=10, step_size="2/255")


def finer(attack: Attack) -> PGD:
    """Returns PGD at the same eps with twice as many steps, each half as long."""
    if isinstance(attack, PGD):
        return dataclasses.replace(attack, steps=2 * attack.steps, step_size=attack.step_length / 2)
    return PGD(norm=attack.norm, eps=attack.eps, steps=2)


@dataclass(frozen=True, kw_only=True)
class PGDTraining(Objective):
    """Cross entropy on the points that PGD, or another attack, makes from the batch.

    Madry et al. 2018, arXiv 1706.06083, equation 2.1.

    Attributes:
        attack: The inner attack; its last point is used.
        label_smoothing: As in `Standard`.
    """

    attack: Attack = field(default_factory=training_attack)
    label_smoothing: float = 0.0

    name: ClassVar[str] = "pgd-at"
    source: ClassVar[str] = "Madry et al. 2018, arXiv 1706.06083"

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self.name, "label_smoothing", self.label_smoothing, "[0, 1]")

    @property
    def inner(self) -> Attack:
        """The inner attack."""
        return self.attack

    def craft(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns the last points of the inner attack."""
        return craft(self.attack, classifier, batch.x, self.attack.goal(batch.y), batch.ids, batch.seed)

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns the mean cross entropy on adversarial inputs."""
        return cross_entropy(classifier.logits(x_adv), batch.y, label_smoothing=self.label_smoothing)

    def gentler(self) -> Objective:
        """Returns it with twice as many steps, each half as long."""
        return dataclasses.replace(self, attack=finer(self.attack))
