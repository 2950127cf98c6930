"""TRADES: accuracy on clean inputs and agreement on adversarial ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from robustkit.attacks.all_steps import craft
from robustkit.attacks.base import Attack
from robustkit.attacks.pgd import PGD
from robustkit.base.settings import between
from robustkit.defenses.base import Minibatch, Objective
from robustkit.defenses.objectives.pgd_training import finer, training_attack
from robustkit.model.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class TRADES(Objective):
    """Cross entropy on clean inputs plus beta * KL(p_clean || p_adv), averaged over the batch.

    Zhang et al. 2019, arXiv 1901.08573, equation 5. The inner attack climbs the same KL from x + 0.001 * N(0, 1); its
    clean probabilities, in eval mode, are computed once. At beta 0 nothing is crafted.

    Attributes:
        attack: The inner attack; its loss and start are replaced by those of the paper.
        beta: Weight of the second term, >= 0 (6 on CIFAR-10 and 1 on MNIST in the paper).
        label_smoothing: Of the first term, as in `Standard`.
    """

    attack: PGD = field(default_factory=training_attack)
    beta: float = 6.0
    label_smoothing: float = 0.0

    name: ClassVar[str] = "trades"
    source: ClassVar[str] = "Zhang et al. 2019, arXiv 1901.08573"

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self.name, "beta", self.beta, "[0, inf)")
        between(self.name, "label_smoothing", self.label_smoothing, "[0, 1]")

    @property
    def inner(self) -> Attack:
        """The inner attack."""
        return self.attack

    def craft(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns the points where the prediction differs most from the clean one."""
        if not self.beta:
            return batch.x
        p_clean = classifier.logits(batch.x).detach().softmax(dim=1)
        attack = dataclasses.replace(self.attack, loss="kl")
        return craft(attack, classifier, batch.x, p_clean, batch.ids, batch.seed, batch.nudged(self.name))

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns both terms; the gradient flows through the clean probabilities too."""
        clean = classifier.logits(batch.x)
        natural = cross_entropy(clean, batch.y, label_smoothing=self.label_smoothing)
        if not self.beta:
            return natural
        adversarial = classifier.logits(x_adv).log_softmax(dim=1)
        return natural + self.beta * kl_div(adversarial, clean.softmax(dim=1), reduction="batchmean")

    def gentler(self) -> Objective:
        """Returns it with twice as many steps, each half as long."""
        return dataclasses.replace(self, attack=finer(self.attack))
