"""Adversarial training with FGSM: one step from the clean input."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from robustkit.attacks.all_steps import craft
from robustkit.attacks.pgd import PGD
from robustkit.attacks.threat import Eps, parse_eps
from robustkit.base.settings import between
from robustkit.defenses.base import Minibatch, Objective
from robustkit.defenses.objectives.pgd_training import PGDTraining, finer
from robustkit.maths.norms import Norm
from robustkit.model.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class FGSMTraining(Objective):
    """Cross entropy on the points of FGSM, optionally mixed with that on the clean samples.

    Goodfellow et al. 2015, arXiv 1412.6572, section 6, who mix both at 0.5; most later work, and the default here,
    trains on adversarial inputs alone. A baseline: it overfits catastrophically at larger eps, so that PGD finds what
    the one step does not. `FGSMRS`, `NFGSM` and `GradAlign` were made against that.

    Attributes:
        norm: "Linf", "L2" or "L1".
        eps: Radius of the ball, and length of the step.
        clean_weight: Share of the loss on clean samples, >= 0 and < 1 (alpha in the paper).
        label_smoothing: As in `Standard`.
    """

    norm: Norm = "Linf"
    eps: Eps = "8/255"
    clean_weight: float = 0.0
    label_smoothing: float = 0.0

    name: ClassVar[str] = "fgsm"
    source: ClassVar[str] = "Goodfellow et al. 2015, arXiv 1412.6572"

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self.name, "clean_weight", self.clean_weight, "[0, 1)")
        between(self.name, "label_smoothing", self.label_smoothing, "[0, 1]")
        _ = self.inner

    @property
    def inner(self) -> PGD:
        """PGD of one step of length eps from the clean input, which is FGSM."""
        return PGD(norm=self.norm, eps=self.eps, steps=1, step_size=parse_eps(self.eps), random_start=False)

    def craft(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns the points after the one step."""
        return craft(self.inner, classifier, batch.x, batch.y, batch.ids, batch.seed)

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns the mean cross entropy on adversarial inputs, mixed with that on clean ones."""
        loss = cross_entropy(classifier.logits(x_adv), batch.y, label_smoothing=self.label_smoothing)
        if not self.clean_weight:
            return loss
        clean = cross_entropy(classifier.logits(batch.x), batch.y, label_smoothing=self.label_smoothing)
        return self.clean_weight * clean + (1 - self.clean_weight) * loss

    def gentler(self) -> Objective:
        """Returns PGD training with two steps, each half as long, from a random start, without the clean loss."""
        attack = dataclasses.replace(finer(self.inner), random_start=True)
        return PGDTraining(attack=attack, label_smoothing=self.label_smoothing)
