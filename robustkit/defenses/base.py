"""The contract of a training objective."""

from __future__ import annotations

import dataclasses
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robustkit.attacks.base import Attack
from robustkit.attacks.threat import parse_eps
from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import choice, instance, settle, wrong
from robustkit.data.labels import as_labels
from robustkit.maths.norms import NORMS
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier, as_classifier


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


def _for_any_loop(batch_loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Returns the loss of a batch, which may also be called with a model, inputs and labels."""

    @functools.wraps(batch_loss)
    def loss(self: Objective, classifier: Any, batch: Any, x_adv: Any) -> Tensor:
        if isinstance(batch, Minibatch):
            return batch_loss(self, classifier, batch, x_adv)
        return self.loss_on(classifier, batch, x_adv)

    return loss


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """What training minimises on one batch: a frozen value whose fields are its configuration.

    A sub-class says which inputs to train on (`craft`) and what to minimise there (`loss`). Its threat model lies in
    fields called `eps` or `attack`, an objective it wraps in a field called `objective`.
    """

    name: ClassVar[str]
    source: ClassVar[str]

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if "loss" in vars(cls):
            cls.loss = _for_any_loop(cls.loss)  # type: ignore[method-assign]

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
    def keeps_memory(self) -> bool:
        """Whether it needs `remember` and the memory of a Minibatch from one batch to the next."""
        return False

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
    def loss(self, classifier: Any, batch: Any, x_adv: Any) -> Tensor:
        """Returns the mean loss, a scalar that can be differentiated with respect to the weights.

        A sub-class says what that is for a clean batch and what `craft` returned for it. Called with a model, inputs
        and labels instead, as in `objective.loss(model, x, y).backward()`, it crafts by itself: see `loss_on`.

        Args:
            classifier: A Classifier in training mode; or a module.
            batch: The clean Minibatch; or inputs (N, ...).
            x_adv: What `craft` returned for it; or labels (N,).
        """

    def loss_on(
        self,
        model: Classifier | nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        ids: Tensor | None = None,
        seed: int | None = None,
        epoch: int | None = None,
        memory: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Returns the loss for anybody's own loop: its `backward()` leaves the gradient that `fit` would follow.

        Inputs are crafted in eval mode, and nothing of the model changes meanwhile; then the loss is taken in the mode
        that the model is in. Where an objective takes its gradient elsewhere (AWP) or learns from it (free), the
        gradient is computed here and handed on by `backward()`.

        Args:
            model: A Classifier, or a bare module that takes inputs in 0..1.
            x: Inputs (N, ...) within the bounds.
            y: Labels (N,), or their probabilities (N, K) where `takes_mixed_labels`.
            ids: Sample ids (N,), the positions by default.
            seed: Of all random numbers; by default drawn from torch's generator.
            epoch: From 1; by default past every warm-up.
            memory: What `free` needs: one dict for the whole run, and `replays` calls in a row for every batch.

        Raises:
            ConfigurationError: If the objective needs a memory, or labels of another kind.
            InvalidEvaluation: If inputs leave the bounds or labels are no classes.
        """
        if self.keeps_memory and memory is None:
            raise ConfigurationError(
                f"{self.name}: expected memory, one dict for the whole run, got none; call loss_on(model, x, y,"
                f" memory=memory) {self.replays} times in a row for every batch"
            )
        classifier = as_classifier(model)
        x = classifier.accept(x)
        if not (isinstance(y, Tensor) and y.is_floating_point() and self.takes_mixed_labels):
            y = as_labels(y, classifier.num_classes)
        ids = torch.arange(len(x), device="cpu") if ids is None else ids
        seed = int(torch.randint(2**63 - 1, (), device="cpu")) if seed is None else seed
        epoch = self.idle_epochs + 1 if epoch is None else epoch
        kept = {} if memory is None else memory
        batch = Minibatch(x, y.to(x.device), ids.to(x.device), seed, epoch, kept)
        if type(self).backward is Objective.backward and not self.keeps_memory:
            return self.loss(classifier, batch, self.crafted(classifier, batch))
        return self._handed_on(classifier, batch)

    def _handed_on(self, classifier: Classifier, batch: Minibatch) -> Tensor:
        """Returns a loss whose gradient is the one that `backward` finds."""
        weights = [p for p in classifier.module.parameters() if p.requires_grad]
        kept = [weight.grad for weight in weights]
        try:
            for weight in weights:
                weight.grad = None
            loss = self.backward(classifier, batch)
            pairs = [(weight, weight.grad) for weight in weights if weight.grad is not None]
        finally:
            for weight, grad in zip(weights, kept, strict=True):
                weight.grad = grad
        return loss + sum(((weight - weight.detach()) * grad).sum() for weight, grad in pairs)

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

    @classmethod
    def settings_around(cls, wrapped: str, epochs: int | None = None) -> Mapping[str, Any]:
        """Returns its settings around an objective of this name in a run of `epochs`; None for one as in its paper."""
        return cls.own_settings.get(wrapped, {})

    @property
    def idle_epochs(self) -> int:
        """As the wrapped objective."""
        return self.objective.idle_epochs

    @property
    def inner(self) -> Attack | None:
        """As the wrapped objective."""
        return self.objective.inner

    @property
    def keeps_memory(self) -> bool:
        """As the wrapped objective."""
        return self.objective.keeps_memory

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
