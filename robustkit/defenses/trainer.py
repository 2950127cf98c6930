"""The training loop: it knows only that an objective gives a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustkit.classifier import Classifier
from robustkit.defense import Minibatch, Objective
from robustkit.errors import ConfigurationError, RobustkitError
from robustkit.labels import as_labels


class Diverged(RobustkitError):
    """The loss is not finite any more."""

    exit_code = 3


@dataclass(frozen=True)
class Epoch:
    """Where training stands: `number` of `total` epochs, and the mean loss of this one."""

    number: int
    total: int
    loss: float


def fit(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    objective: Objective,
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 0.01,
    weight_decay: float = 5e-4,
    seed: int = 0,
    progress: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Trains a model in place with AdamW and a one-cycle schedule; returns what each epoch was like.

    The order of the samples and the random numbers of the objective depend on `seed` alone; the model's own random
    layers (dropout) draw from torch's generator as ever. The model is left in eval mode.

    Args:
        classifier: The model, wrapped; only its weights change.
        x: Training inputs (N, ...) within the bounds.
        y: Labels (N,).
        objective: What to minimise.
        epochs: Passes over the data, >= 1.
        batch_size: Samples per step; a last batch of a single sample is left out, since BatchNorm refuses it.
        lr: Largest learning rate of the schedule (Smith & Topin 2018, arXiv 1708.07120).
        weight_decay: Decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101).
        seed: Seed of the run.
        progress: Called after each epoch.

    Raises:
        ConfigurationError: If a number is too small to mean anything.
        InvalidEvaluation: If the data leave the bounds or labels are no classes.
        Diverged: If the loss becomes NaN or infinite.
    """
    if min(epochs, batch_size) < 1 or not lr > 0:
        raise ConfigurationError(
            f"fit: expected epochs >= 1, batch_size >= 1 and lr > 0, got {epochs}, {batch_size} and {lr}"
        )
    x = classifier.accept(x)
    y = as_labels(y, classifier.num_classes).to(x.device)
    steps = len(range(0, len(x), batch_size)) * epochs
    optimizer = torch.optim.AdamW(classifier.module.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps + 1)
    shuffle = torch.Generator().manual_seed(seed)
    history = []
    classifier.module.train()
    for number in range(1, epochs + 1):
        total, seen = 0.0, 0
        for ids in torch.randperm(len(x), generator=shuffle).split(batch_size):  # type: ignore[no-untyped-call]
            if len(ids) == 1 < len(x):
                continue
            batch = ids.to(x.device)
            optimizer.zero_grad(set_to_none=True)
            loss = objective.backward(classifier, Minibatch(x[batch], y[batch], batch, seed + number, number))
            optimizer.step()
            schedule.step()
            total, seen = total + float(loss.detach()) * len(ids), seen + len(ids)
        history.append(Epoch(number, epochs, total / seen))
        if not torch.isfinite(torch.tensor(history[-1].loss)):
            raise Diverged(f"fit: expected a finite loss, got {history[-1].loss} in epoch {number}; lower lr")
        if progress:
            progress(history[-1])
    classifier.module.eval()
    return history
