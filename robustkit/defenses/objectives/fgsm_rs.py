"""Fast adversarial training: one step from a random start."""

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
class FGSMRS(Objective):
    """Cross entropy on the points of one steepest step from a uniform start in the ball.

    Wong et al. 2020, arXiv 2001.03994, algorithm 3. Without the random start and with `alpha` 1 it is the FGSM training
    of Goodfellow et al. 2015, which overfits catastrophically: PGD then finds what the one step does not.

    Attributes:
        norm: "Linf", "L2" or "L1".
        eps: Radius of the ball.
        alpha: Length of the step as a multiple of `eps`.
        random_start: Start uniformly in the ball; otherwise at the clean input.
        label_smoothing: As in `Standard`.
    """

    norm: Norm = "Linf"
    eps: Eps = "8/255"
    alpha: float = 1.25
    random_start: bool = True
    label_smoothing: float = 0.0

    name: ClassVar[str] = "fgsm-rs"
    source: ClassVar[str] = "Wong et al. 2020, arXiv 2001.03994"

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self.name, "alpha", self.alpha, "[0, inf)")
        between(self.name, "label_smoothing", self.label_smoothing, "[0, 1]")
        _ = self.inner

    @property
    def inner(self) -> PGD:
        """PGD of one step."""
        length = self.alpha * parse_eps(self.eps)
        return PGD(norm=self.norm, eps=self.eps, steps=1, step_size=length, random_start=self.random_start)

    def craft(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns the points after the one step."""
        return craft(self.inner, classifier, batch.x, batch.y, batch.ids, batch.seed)

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns the mean cross entropy on adversarial inputs."""
        return cross_entropy(classifier.logits(x_adv), batch.y, label_smoothing=self.label_smoothing)

    def gentler(self) -> Objective:
        """Returns PGD training with two steps, each half as long, from a random start."""
        return PGDTraining(
            attack=dataclasses.replace(finer(self.inner), random_start=True), label_smoothing=self.label_smoothing
        )
