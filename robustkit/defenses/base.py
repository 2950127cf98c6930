"""The contract of a training objective."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from robustkit.attacks.base import Attack
from robustkit.attacks.threat import parse_eps
from robustkit.base.settings import choice, instance, settle, wrong
from robustkit.maths.norms import NORMS
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier


@dataclass(frozen=True)
class Minibatch:
    """What one training step works on.

    Attributes:
        x: Clean inputs (N, ...) within the bounds, on the model's device.
        y: Labels (N,), or their probabilities (N, K) where an augmentation mixed samples.
        ids: Sample ids (N,), which with `seed` fix all random numbers.
        seed: Differs in every epoch.
        epoch: Number of this pass over the data, from 1.
        memory: Tensors an objective keeps from one batch to the next, row i for row i; checkpoints hold them.
        exact: Whether the inner attack runs in float32 while the training step uses bfloat16.
    """

    x: Tensor
    y: Tensor
    ids: Tensor
    seed: int = 0
    epoch: int = 1
    memory: dict[str, Tensor] = field(default_factory=dict)
    exact: bool = False

    def nudged(self, name: str, scale: float = 1e-3) -> Tensor:
        """Returns x + scale * N(0, 1), the start of the inner attacks of TRADES and MART."""
        zero = torch.zeros_like(self.ids)
        noise = Stream(self.seed, name).normal(tuple(self.x.shape[1:]), self.ids, zero, zero)
        return self.x + scale * noise.to(self.x.dtype)


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """What training minimises on one batch: a frozen value whose fields are its configuration.

    A sub-class says which inputs to train on (`craft`) and what to minimise there (`loss`). Its threat model lies in
    fields called `eps` or `attack`, an objective it wraps in a field called `objective`.
    """

    name: ClassVar[str]
    source: ClassVar[str]

    def __post_init__(self) -> None:
        settle(self.name, self)
        for name, check in (("attack", Attack), ("objective", Objective)):
            if hasattr(self, name):
                instance(self.name, name, getattr(self, name), check)
        if hasattr(self, "norm"):
            choice(self.name, "norm", self.norm, NORMS)
        if hasattr(self, "eps") and math.isinf(parse_eps(self.eps)):
            raise wrong(self.name, "eps", self.eps, "a finite number")

    @property
    def inner(self) -> Attack | None:
        """The attack whose norm and eps it defends against; None where it trains on clean inputs."""
        return None

    @property
    def idle_epochs(self) -> int:
        """How many epochs pass before it does what it is named for."""
        return 0

    @property
    def replays(self) -> int:
        """How many updates each batch serves for in a row."""
        return 1

    @property
    def takes_mixed_labels(self) -> bool:
        """Whether labels may be rows of probabilities: the losses are then cross entropy, that of the attack too."""
        inner = self.inner
        return inner is None or (getattr(inner, "loss", "ce") == "ce" and inner.target is None)

    def craft(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns the inputs (N, ...) to train on; `classifier` is in its `frozen()` context meanwhile."""
        return batch.x

    @abstractmethod
    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns the mean loss, a scalar that can be differentiated with respect to the weights.

        Args:
            classifier: In training mode.
            batch: The clean batch.
            x_adv: What `craft` returned for it.
        """

    def remember(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> None:  # noqa: B027
        """Keeps in `batch.memory` what the next batch needs; gradients, also of `x_adv`, are there."""

    def crafted(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns `craft` with the model in eval mode and left as it was (Pang et al. 2021, arXiv 2010.00467, 3.3)."""
        device = classifier.device.type
        precise = torch.autocast(device, enabled=torch.is_autocast_enabled(device) and not batch.exact)
        with classifier.frozen(), precise:
            return self.craft(classifier, batch)

    def backward(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Adds the gradient of the batch to `grad` of the weights and returns the loss, detached."""
        x_adv = self.crafted(classifier, batch)
        loss = self.loss(classifier, batch, x_adv)
        loss.backward()  # type: ignore[no-untyped-call]
        self.remember(classifier, batch, x_adv)
        return loss.detach()

    def scaled(self, factor: float) -> Objective:
        """Returns it with its eps, and steps given as lengths, times `factor`: the warm-up of eps."""
        changes: dict[str, Any] = {}
        for name in ("eps", "attack", "objective"):
            value = getattr(self, name, None)
            if isinstance(value, Objective):
                changes[name] = value.scaled(factor)
            elif isinstance(value, Attack):
                lengths = {n: getattr(value, n, None) for n in ("eps", "step_size")}
                smaller: dict[str, Any] = {n: factor * parse_eps(v) for n, v in lengths.items() if v is not None}
                changes[name] = dataclasses.replace(value, **smaller)
            elif value is not None:
                changes[name] = factor * parse_eps(value)
        return dataclasses.replace(self, **changes)

    def gentler(self) -> Objective | None:
        """Returns it with smaller, mostly more, steps: the cure of catastrophic overfitting; None if it makes none."""
        return None

    def settings(self) -> dict[str, str]:
        """Returns every field as text."""
        return {field.name: str(getattr(self, field.name)) for field in dataclasses.fields(self)}


@dataclass(frozen=True, kw_only=True)
class Wrapper(Objective):
    """An objective that changes another one and leaves to it what it does not change itself.

    Attributes:
        objective: The one it wraps.
        own_settings: Its settings around an objective of some name, where its paper has others than its defaults; used
            where an objective is spelled as a text.
        wrapped_settings: The same for the settings of that objective.
    """

    objective: Objective

    own_settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    wrapped_settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @property
    def idle_epochs(self) -> int:
        """As the wrapped objective."""
        return self.objective.idle_epochs

    @property
    def inner(self) -> Attack | None:
        """As the wrapped objective."""
        return self.objective.inner

    @property
    def replays(self) -> int:
        """As the wrapped objective."""
        return self.objective.replays

    @property
    def takes_mixed_labels(self) -> bool:
        """As the wrapped objective."""
        return self.objective.takes_mixed_labels

    def craft(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns what the wrapped objective trains on."""
        return self.objective.craft(classifier, batch)

    def loss(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> Tensor:
        """Returns the loss of the wrapped objective."""
        return self.objective.loss(classifier, batch, x_adv)

    def remember(self, classifier: Classifier, batch: Minibatch, x_adv: Tensor) -> None:
        """Lets the wrapped objective keep what it needs."""
        self.objective.remember(classifier, batch, x_adv)

    def gentler(self) -> Objective | None:
        """Returns it around a gentler objective."""
        gentler = self.objective.gentler()
        return None if gentler is None else dataclasses.replace(self, objective=gentler)
