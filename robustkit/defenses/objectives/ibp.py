"""IBP: training against interval bounds, for networks whose robustness can be certified."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from robustkit.attacks.pgd import PGD
from robustkit.attacks.threat import Eps, parse_eps
from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import between
from robustkit.defenses.base import Minibatch, Objective
from robustkit.maths.norms import Norm
from robustkit.model.classifier import Classifier
from robustkit.model.interval_bounds import worst_margins
from robustkit.model.normalization import normalized


@dataclass(frozen=True, kw_only=True)
class IBP(Objective):
    """kappa * cross entropy on clean inputs plus (1 - kappa) * that of the worst logits that interval bounds allow.

    Gowal et al. 2018, arXiv 1810.12715, section 3, with the last layer elided. It needs a warm-up, without which it
    learns nothing at larger eps: `scaled`, which `eps_warmup` of a recipe calls with every batch, lets eps grow from 0
    and kappa fall from 1 at once, in straight lines. No point is crafted. For Sequential networks of linear,
    convolution, BatchNorm, ReLU-like, Flatten and pooling layers. `worst` bounds the network in
    eval mode; in the loss, BatchNorm takes the statistics of the middles of the intervals (docs/log.md).

    Attributes:
        norm: "Linf" alone.
        eps: Radius of the ball.
        kappa: Weight of the clean loss after the warm-up, in 0..1 (0.5 in the paper).
    """

    norm: Norm = "Linf"
    eps: Eps = "8/255"
    kappa: float = 0.5

    name: ClassVar[str] = "ibp"
    source: ClassVar[str] = "Gowal et al. 2018, arXiv 1810.12715"

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self.name, "kappa", self.kappa, "[0, 1]")
        if self.norm != "Linf":
            raise ConfigurationError(f"ibp: expected norm Linf, got {self.norm}; use pgd-at or trades for that norm")
        _ = self.inner

    @property
    def inner(self) -> PGD:
        """PGD at the same eps, which measures epochs; what it finds is no bound."""
        return PGD(norm=self.norm, eps=self.eps)

    @property
    def takes_mixed_labels(self) -> bool:
        """No: the worst logits are those against one class."""
        return False

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns both terms."""
        # Always, also at kappa 0: BatchNorm learns its statistics here.
        clean = cross_entropy(classifier.logits(batch.x), batch.y)
        return self.kappa * clean + (1 - self.kappa) * cross_entropy(self._worst(classifier, batch, True), batch.y)

    def worst(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns upper bounds (N, K) of every logit minus that of the label within eps, 0 at the label.

        A sample is certified, up to rounding, where all others are below 0.

        Raises:
            ConfigurationError: If the network has a layer that cannot be bounded, or does not return logits.
        """
        return self._worst(classifier, batch, False)

    def _worst(self, classifier: Classifier, batch: Minibatch, learning: bool) -> Tensor:
        if classifier.output not in ("auto", "logits") or classifier.select is not None:
            raise ConfigurationError(
                f"ibp: expected a model that returns logits as a tensor, got output={classifier.output!r},"
                f" select={classifier.select!r}; give the network without what follows its logits"
            )
        limits = self.inner.threat(classifier).limits(batch.x)
        low, high = (
            normalized(end.to(classifier.dtype), classifier.mean, classifier.std).to(classifier.model_dtype)
            for end in limits
        )
        with torch.autocast(classifier.device.type, enabled=False):
            return worst_margins(classifier.module, low, high, batch.y, self.name, learning).to(classifier.dtype)

    def scaled(self, factor: float) -> Objective:
        """Returns it with eps times `factor` and kappa as far on its way from 1: the warm-up."""
        kappa = 1 - min(1.0, factor) * (1 - self.kappa)
        return dataclasses.replace(self, eps=factor * parse_eps(self.eps), kappa=kappa)
