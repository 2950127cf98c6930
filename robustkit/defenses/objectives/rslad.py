"""RSLAD: distillation from the soft labels of a robust teacher alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import kl_div

from robustkit.attacks.all_steps import craft
from robustkit.attacks.base import Attack
from robustkit.attacks.pgd import PGD
from robustkit.base.settings import between
from robustkit.defenses.base import Minibatch, Objective
from robustkit.defenses.objectives.pgd_training import finer, training_attack
from robustkit.defenses.objectives.teacher import Teacher, as_teacher
from robustkit.model.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class RSLAD(Objective):
    """The model answers on clean and on adversarial inputs what a robust teacher answers on the clean ones.

    Zi et al. 2021, arXiv 2108.07969: (1 - alpha) * KL(T(x) || S(x)) + alpha * KL(T(x) || S(x')),
    where x' climbs KL(T(x) || S(x')) from x + 0.001 * N(0, 1), as in the authors' code. Labels are not used.
    Difference: the divergence is the sum over the classes, which that code divides by their number.

    Attributes:
        teacher: A robust model, mostly a larger one: a Classifier, or a module that takes inputs in 0..1.
        attack: The inner attack; its loss and start are replaced by those of the paper.
        alpha: Weight of the second term, in 0..1 (5/6 in the paper).
    """

    teacher: Classifier | nn.Module | Teacher
    attack: PGD = field(default_factory=training_attack)
    alpha: float = 5 / 6

    name: ClassVar[str] = "rslad"
    source: ClassVar[str] = "Zi et al. 2021, arXiv 2108.07969"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "teacher", as_teacher(self.name, self.teacher))
        between(self.name, "alpha", self.alpha, "[0, 1]")

    @property
    def inner(self) -> Attack:
        """The inner attack."""
        return self.attack

    def craft(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns the points where the model's answer differs most from that of the teacher on the clean input."""
        attack = dataclasses.replace(self.attack, loss="kl")
        answers = self.answers(classifier, batch)
        return craft(attack, classifier, batch.x, answers, batch.ids, batch.seed, batch.nudged(self.name))

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns both terms; a term of weight 0 is left out."""
        answers = self.answers(classifier, batch)
        loss = x_adv.new_zeros(())
        for weight, points in ((self.alpha, x_adv), (1 - self.alpha, batch.x)):
            if weight:
                logs = classifier.logits(points).log_softmax(dim=1)
                loss = loss + weight * kl_div(logs, answers, reduction="batchmean")
        return loss

    def answers(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns the probabilities (N, K) that the teacher gives the clean inputs."""
        assert isinstance(self.teacher, Teacher)
        return self.teacher.probabilities(self.name, classifier, batch.x)

    def gentler(self) -> Objective:
        """Returns it with twice as many steps, each half as long."""
        return dataclasses.replace(self, attack=finer(self.attack))
