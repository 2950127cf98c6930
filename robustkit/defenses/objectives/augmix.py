"""AugMix with its consistency loss, around any objective."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from robustkit.base.per_coordinate import one_range
from robustkit.base.settings import between, integer
from robustkit.defenses.augment.apply import Augmentation
from robustkit.defenses.augment.steps import AugMix
from robustkit.defenses.base import Minibatch, Objective, Wrapper
from robustkit.defenses.objectives.standard import Standard
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class AugMixJSD(Wrapper):
    """An objective plus weight * Jensen-Shannon divergence of the predictions for an image and two AugMix views of it.

    Hendrycks et al. 2020, arXiv 1912.02781, equations 1 and 2; around `Standard` it is their loss, the mixture clamped
    at 1e-7 as in their code. Difference: the wrapped loss makes a forward pass of its own, so that it can be any.

    Attributes:
        weight: Of the divergence, >= 0 (12 in the paper).
        severity: Strength of the changes, 1..10.
        width: Chains per view.
    """

    objective: Objective = field(default_factory=Standard)
    weight: float = 12.0
    severity: int = 3
    width: int = 3

    name: ClassVar[str] = "augmix"
    source: ClassVar[str] = "Hendrycks et al. 2020, arXiv 1912.02781"

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self.name, "weight", self.weight, "[0, inf)")
        integer(self.name, "severity", self.severity, 1, 10)
        integer(self.name, "width", self.width)
        _ = self.step

    @property
    def step(self) -> AugMix:
        """What makes a view."""
        return AugMix(severity=self.severity, width=self.width)

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns the loss of the wrapped objective plus the divergence."""
        loss = super().loss(classifier, batch, x_adv)
        return loss + self.weight * self.divergence(classifier, batch) if self.weight else loss

    def views(self, classifier: Classifier, batch: Minibatch) -> list[Tensor]:
        """Returns two changed versions of the inputs, fixed by the seed of the batch and the ids."""
        augment = Augmentation(steps=(self.step,), bounds=one_range(self.name, classifier.bounds))
        seeds = [Stream(batch.seed, f"{self.name} view {number}").number for number in (1, 2)]
        return [augment(dataclasses.replace(batch, seed=seed)).x for seed in seeds]

    def divergence(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns the mean divergence of the three predictions, in 0..ln 3."""
        logits = classifier.logits(torch.cat([batch.x, *self.views(classifier, batch)]))
        shares = logits.softmax(dim=1).chunk(3)
        mixture = torch.stack(shares).mean(dim=0).clamp(1e-7, 1).log()
        return torch.stack([kl_div(mixture, share, reduction="batchmean") for share in shares]).mean()
