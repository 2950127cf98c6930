"""Adversarial weight perturbation: the loss is taken where nearby weights make it worst."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robustkit.base.settings import between, integer
from robustkit.defenses.base import Minibatch, Objective, Wrapper
from robustkit.defenses.objectives.pgd_training import PGDTraining
from robustkit.model.classifier import Classifier

_EPOCHS = 200  # of a run in the paper


@dataclass(frozen=True, kw_only=True)
class AWP(Wrapper):
    """Any objective, with its gradient taken at weights moved uphill by gamma times their own length.

    Wu et al. 2020, arXiv 2004.05884, algorithm 1: every weight tensor W with two axes or more moves by
    gamma * |W| * G / |G|, where G is the gradient of the loss on the same adversarial inputs; biases and normalisation
    stay. Difference: the weights are put back before the optimiser's step, exactly, so that weight decay acts on them
    and not on the moved ones.

    Attributes:
        gamma: Relative size of the move, >= 0: 0.01 for PGD training, 0.005 for TRADES, which "awp+trades" means.
        warmup: Epochs before it begins: 0 for PGD training, 10 of 200 for TRADES, which "awp+trades" means.
    """

    objective: Objective = field(default_factory=PGDTraining)
    gamma: float = 0.01
    warmup: int = 0

    name: ClassVar[str] = "awp"
    source: ClassVar[str] = "Wu et al. 2020, arXiv 2004.05884"
    own_settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {"trades": {"gamma": 0.005, "warmup": 10}}

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self.name, "gamma", self.gamma, "[0, inf)")
        integer(self.name, "warmup", self.warmup, least=0)

    @classmethod
    def settings_around(cls, wrapped: str, epochs: int | None = None) -> Mapping[str, Any]:
        """Returns the settings of the paper, with its warm-up as the same share of a run of fewer than 200 epochs."""
        own = cls.own_settings.get(wrapped, {})
        if epochs is None or "warmup" not in own:
            return own
        return {**own, "warmup": own["warmup"] * min(epochs, _EPOCHS) // _EPOCHS}

    @property
    def idle_epochs(self) -> int:
        """`warmup`, or longer where the wrapped objective waits longer."""
        return max(self.warmup, super().idle_epochs)

    def backward(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Adds the gradient at the moved weights and returns the loss there."""
        if batch.epoch <= self.warmup:
            return super().backward(classifier, batch)
        x_adv = self.crafted(classifier, batch)
        weights = [p for p in classifier.module.parameters() if p.requires_grad and p.ndim > 1]
        # Not by autograd.grad, which several processes that train together would not hear of.
        with _without_trace(classifier.module, classifier.device):
            self.loss(classifier, batch, x_adv.detach()).backward()  # type: ignore[no-untyped-call]
            grads = [weight.grad for weight in weights]
        kept = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            for weight, grad in zip(weights, grads, strict=True):
                if grad is not None:
                    weight.add_(self.gamma * weight.norm() / grad.norm().clamp(min=1e-20) * grad)
        try:
            loss = self.loss(classifier, batch, x_adv)
            loss.backward()  # type: ignore[no-untyped-call]
        finally:
            with torch.no_grad():
                for weight, value in zip(weights, kept, strict=True):
                    weight.copy_(value)
        self.remember(classifier, batch, x_adv)
        return loss.detach()


@contextmanager
def _without_trace(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Context after which buffers, gradients and the random state of the model's layers are as they were."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    for parameter, grad in gradients:
        parameter.grad = grad
    for buffer, value in buffers:
        buffer.copy_(value)
