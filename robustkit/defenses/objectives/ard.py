"""ARD: adversarially robust distillation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from robustkit.attacks.all_steps import craft
from robustkit.attacks.base import Attack
from robustkit.base.settings import between
from robustkit.defenses.base import Minibatch, Objective
from robustkit.defenses.objectives.pgd_training import finer, training_attack
from robustkit.defenses.objectives.teacher import Teacher, as_teacher
from robustkit.model.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class ARD(Objective):
    """The model answers under attack what a teacher answers on the clean input.

    Goldblum et al. 2020, arXiv 1905.09747: (1 - alpha) * CE(S(x), y) + alpha * t^2 * KL(T_t(x) || S_t(x')),
    where the softmaxes of student S and teacher T have temperature t in the second term and 1 in the first, as in the
    authors' code. x' is made by an attack on the student's cross entropy. Difference: the divergence is the sum over
    the classes, which that code divides by their number.

    Attributes:
        teacher: A trained model, mostly a larger and robust one: a Classifier, or a module that takes inputs in 0..1.
        attack: The inner attack.
        alpha: Weight of the second term, in 0..1.
        temperature: t, in 0.001..10^6 (30 on CIFAR-10 in the paper).
    """

    teacher: Classifier | nn.Module | Teacher
    attack: Attack = field(default_factory=training_attack)
    alpha: float = 1.0
    temperature: float = 30.0

    name: ClassVar[str] = "ard"
    source: ClassVar[str] = "Goldblum et al. 2020, arXiv 1905.09747"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "teacher", as_teacher(self.name, self.teacher))
        between(self.name, "alpha", self.alpha, "[0, 1]")
        between(self.name, "temperature", self.temperature, "[1e-3, 1e6]")

    @property
    def inner(self) -> Attack:
        """The inner attack."""
        return self.attack

    def craft(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns the last points of the inner attack."""
        return craft(self.attack, classifier, batch.x, self.attack.goal(batch.y), batch.ids, batch.seed)

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns both terms; a term of weight 0 is left out."""
        assert isinstance(self.teacher, Teacher)
        loss = x_adv.new_zeros(())
        if self.alpha:
            logs = (classifier.logits(x_adv) / self.temperature).log_softmax(dim=1)
            answers = self.teacher.probabilities(self.name, classifier, batch.x, self.temperature)
            loss = loss + self.alpha * self.temperature**2 * kl_div(logs, answers, reduction="batchmean")
        if self.alpha < 1:
            loss = loss + (1 - self.alpha) * cross_entropy(classifier.logits(batch.x), batch.y)
        return loss

    def gentler(self) -> Objective:
        """Returns it with twice as many steps, each half as long."""
        return dataclasses.replace(self, attack=finer(self.attack))
