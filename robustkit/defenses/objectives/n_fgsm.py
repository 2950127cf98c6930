"""Noise-FGSM: one step from a start outside the ball, not projected back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from robustkit.attacks.pgd import PGD
from robustkit.attacks.threat import Eps, Threat, parse_eps
from robustkit.base.per_coordinate import ends_on
from robustkit.base.settings import between
from robustkit.defenses.base import Minibatch, Objective
from robustkit.defenses.objectives.pgd_training import PGDTraining, finer
from robustkit.maths.losses import get_loss
from robustkit.maths.norms import Norm, steepest
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class NFGSM(Objective):
    """Cross entropy on the points of one step of `alpha` * eps from noise in the ball of `spread` * eps.

    de Jorge et al. 2022, arXiv 2202.01181, algorithm 1: the noise augments the data and the perturbation is not
    projected onto the ball of eps, only onto the input range: the noise before the step and the sum after it, as in
    the authors' code (github.com/pdejorge/N-FGSM, train.py).

    Attributes:
        norm: "Linf", "L2" or "L1".
        eps: Radius to defend against.
        spread: Radius of the noise as a multiple of `eps` (k in the paper).
        alpha: Length of the step as a multiple of `eps`.
        label_smoothing: As in `Standard`.
    """

    norm: Norm = "Linf"
    eps: Eps = "8/255"
    spread: float = 2.0
    alpha: float = 1.0
    label_smoothing: float = 0.0

    name: ClassVar[str] = "n-fgsm"
    source: ClassVar[str] = "de Jorge et al. 2022, arXiv 2202.01181"

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self.name, "alpha", self.alpha, "[0, inf)")
        between(self.name, "spread", self.spread, "[0, inf)")
        between(self.name, "label_smoothing", self.label_smoothing, "[0, 1]")
        _ = self.inner

    @property
    def inner(self) -> PGD:
        """PGD of one step at the same eps."""
        return PGD(norm=self.norm, eps=self.eps, steps=1, step_size=self.alpha * parse_eps(self.eps))

    def craft(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns the points after noise and step, clipped to the input range."""
        radius = parse_eps(self.eps)
        # The noise may be wider than the input range, which Threat refuses for inputs in an input range.
        wide = Threat(norm=self.norm, eps=self.spread * radius, bounds=(-torch.inf, torch.inf))
        zero = torch.zeros_like(batch.ids)
        low, high = ends_on(classifier.bounds, batch.x)
        noisy = wide.random(batch.x, Stream(batch.seed, self.name), batch.ids, zero, zero).clamp(low, high)
        grad = classifier.gradient(noisy, batch.y, get_loss("ce")).grad
        return (noisy + self.alpha * radius * steepest(grad, self.norm, share=0.05)).clamp(low, high)

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns the mean cross entropy on adversarial inputs."""
        return cross_entropy(classifier.logits(x_adv), batch.y, label_smoothing=self.label_smoothing)

    def gentler(self) -> Objective:
        """Returns PGD training with two steps, each half as long."""
        return PGDTraining(attack=finer(self.inner), label_smoothing=self.label_smoothing)
