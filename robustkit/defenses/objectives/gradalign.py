"""GradAlign: keeps the loss near each sample so linear that one step is enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import between
from robustkit.defenses.base import Minibatch, Objective, Wrapper
from robustkit.defenses.objectives.fgsm_rs import FGSMRS
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class GradAlign(Wrapper):
    """An objective plus weight * (1 - mean cosine of the input gradients at x and at a random point of the ball).

    Andriushchenko & Flammarion 2020, arXiv 2007.02617, equation 4. The weights feel the second gradient only, samples
    without a gradient do not count, and the term is computed in full precision.

    Attributes:
        objective: By default FGSM from the clean input, as in the paper; "gradalign+fgsm-rs" means the same.
        weight: Lambda, >= 0 (0.2 at 8/255 on CIFAR-10 in the paper).
    """

    objective: Objective = field(default_factory=lambda: FGSMRS(alpha=1.0, random_start=False))
    weight: float = 0.2

    name: ClassVar[str] = "gradalign"
    source: ClassVar[str] = "Andriushchenko & Flammarion 2020, arXiv 2007.02617"
    wrapped_settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fgsm-rs": {"alpha": 1.0, "random_start": False}}

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self.name, "weight", self.weight, "[0, inf)")
        if self.inner is None:
            raise ConfigurationError(
                f"gradalign: expected an objective with an eps, got {self.objective.name!r}; wrap fgsm-rs"
            )

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns the loss of the wrapped objective plus the penalty."""
        loss = super().loss(classifier, batch, x_adv)
        return loss + self.weight * self.misalignment(classifier, batch) if self.weight else loss

    def misalignment(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns 1 - mean cosine, in 0..2."""
        assert self.inner is not None
        threat = self.inner.threat(classifier)
        zero = torch.zeros_like(batch.ids)
        there = threat.random(batch.x, Stream(batch.seed, self.name), batch.ids, zero, zero)
        there = threat.project(there, batch.x, *threat.limits(batch.x))
        # The fused kernels of attention have no second derivative.
        with torch.autocast(classifier.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):
            here = _direction(classifier, batch.x, batch.y, create_graph=False)
            moved = _direction(classifier, there, batch.y, create_graph=True)
        cosine = (here * moved).sum(dim=1)
        counts = (here != 0).any(dim=1) & (moved != 0).any(dim=1)
        return 1 - cosine[counts].mean() if bool(counts.any()) else cosine.sum() * 0


def _direction(classifier: Classifier, x: Tensor, y: Tensor, create_graph: bool) -> Tensor:
    """Returns the input gradient of the cross entropy, every row of length one or zero."""
    x = x.detach().requires_grad_()
    loss = cross_entropy(classifier.logits(x), y, reduction="sum")
    (grad,) = torch.autograd.grad(loss, x, create_graph=create_graph)
    flat = grad.flatten(1)
    # Scaling by the largest entry first keeps the squares of tiny gradients from underflowing.
    flat = flat / flat.detach().abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
    length: Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True).clamp(min=0.5)
    return flat / length
