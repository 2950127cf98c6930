"""MART: adversarial training that leans on the samples the model gets wrong."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import kl_div

from robustkit.attacks.all_steps import craft
from robustkit.attacks.base import Attack
from robustkit.attacks.pgd import PGD
from robustkit.base.settings import between
from robustkit.defenses.base import Minibatch, Objective
from robustkit.defenses.objectives.pgd_training import finer, training_attack
from robustkit.model.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class MART(Objective):
    """Boosted cross entropy on adversarial inputs plus beta * KL(p_clean || p_adv) * (1 - p_clean[y]).

    Wang et al. 2020, "Improving adversarial robustness requires revisiting misclassified examples", equations 8 and
    11. The inner attack starts at x + 0.001 * N(0, 1).

    Attributes:
        attack: The inner attack.
        beta: Weight of the second term, >= 0.
    """

    attack: Attack = field(default_factory=training_attack)
    beta: float = 5.0

    name: ClassVar[str] = "mart"
    source: ClassVar[str] = "Wang et al. 2020, ICLR, openreview rklOg6EFwS"

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self.name, "beta", self.beta, "[0, inf)")

    @property
    def inner(self) -> Attack:
        """The inner attack."""
        return self.attack

    @property
    def takes_mixed_labels(self) -> bool:
        """No: its margin needs one class per sample."""
        return False

    def craft(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns the last points of the inner attack."""
        start = batch.nudged(self.name) if isinstance(self.attack, PGD) else None
        return craft(self.attack, classifier, batch.x, self.attack.goal(batch.y), batch.ids, batch.seed, start)

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns both terms."""
        label = batch.y.unsqueeze(1)
        logs = classifier.logits(x_adv).log_softmax(dim=1)
        p_clean = classifier.logits(batch.x).softmax(dim=1)
        best_wrong = logs.exp().scatter(1, label, 0).amax(dim=1)
        boosted = -logs.gather(1, label).squeeze(1) - (1.0001 - best_wrong + 1e-12).log()
        apart = kl_div(logs, p_clean, reduction="none").sum(dim=1)
        doubt = 1 - p_clean.gather(1, label).squeeze(1)
        return boosted.mean() + self.beta * (apart * doubt).mean()

    def gentler(self) -> Objective:
        """Returns it with twice as many steps, each half as long."""
        return dataclasses.replace(self, attack=finer(self.attack))
