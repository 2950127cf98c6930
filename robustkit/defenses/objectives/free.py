"""Free adversarial training: every backward pass serves the weights and the perturbation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from robustkit.attacks.pgd import PGD
from robustkit.attacks.threat import Eps, Threat, parse_eps
from robustkit.base.per_coordinate import ends_on
from robustkit.base.settings import between, integer
from robustkit.defenses.base import Minibatch, Objective
from robustkit.maths.norms import Norm, steepest
from robustkit.model.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Free(Objective):
    """Cross entropy on x + delta, each batch `m` times in a row, delta moving uphill after every update.

    Shafahi et al. 2019, arXiv 1904.12843, algorithm 1. Row i of delta persists from one batch to the next, as in the
    authors' code. Since an epoch makes m times as many updates, divide the usual number of epochs by m.

    Attributes:
        m: Updates per batch, >= 1.
        norm: "Linf", "L2" or "L1".
        eps: Radius of the ball.
        step: Length of delta's step as a multiple of `eps`.
        label_smoothing: As in `Standard`.
    """

    m: int = 8
    norm: Norm = "Linf"
    eps: Eps = "8/255"
    step: float = 1.0
    label_smoothing: float = 0.0

    name: ClassVar[str] = "free"
    source: ClassVar[str] = "Shafahi et al. 2019, arXiv 1904.12843"

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "m", self.m)
        between(self.name, "step", self.step, "[0, inf)")
        between(self.name, "label_smoothing", self.label_smoothing, "[0, 1]")
        _ = self.inner

    @property
    def inner(self) -> PGD:
        """PGD of as many steps, none of which is ever made."""
        return PGD(norm=self.norm, eps=self.eps, steps=self.m, step_size=self.step * parse_eps(self.eps))

    @property
    def keeps_memory(self) -> bool:
        """Yes: delta."""
        return True

    @property
    def replays(self) -> int:
        """`m`."""
        return self.m

    def craft(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns x + delta within ball and input range, as a leaf that collects its gradient."""
        threat = self.inner.threat(classifier)
        return threat.project(batch.x + self._delta(batch), batch.x, *threat.limits(batch.x)).requires_grad_()

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns the mean cross entropy on adversarial inputs."""
        return cross_entropy(classifier.logits(x_adv), batch.y, label_smoothing=self.label_smoothing)

    def remember(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> None:
        """Moves delta one step uphill and back into the ball."""
        assert x_adv.grad is not None
        delta = self._delta(batch)
        low, high = ends_on(classifier.bounds, batch.x)
        moved = batch.x + delta
        # A coordinate cut off by the input range has no influence on the loss.
        grad = torch.where((moved >= low) & (moved <= high), x_adv.grad, 0)
        ball = Threat(norm=self.norm, eps=self.eps, bounds=(-torch.inf, torch.inf))
        origin = torch.zeros_like(delta)
        delta = delta + self.step * parse_eps(self.eps) * steepest(grad, self.norm, share=0.05)
        batch.memory["delta"][: len(delta)] = ball.project(delta, origin, *ball.limits(origin))

    def gentler(self) -> Objective:
        """Returns it with half the step."""
        return dataclasses.replace(self, step=self.step / 2)

    def _delta(self, batch: Minibatch) -> Tensor:
        """Returns the rows of the persistent perturbation for this batch; the first batch is the largest."""
        if "delta" not in batch.memory:
            batch.memory["delta"] = torch.zeros_like(batch.x)
        return batch.memory["delta"][: len(batch.x)]
