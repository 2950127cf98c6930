"""Optimisers, schedules and averages: torch's own, chosen by a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_avg_fn

from robustkit.defenses.training.recipe import Recipe


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Returns the optimiser of the recipe."""
    common: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=recipe.momentum, nesterov=recipe.nesterov, **common)
    kinds: dict[str, type[Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "adagrad": torch.optim.Adagrad,
    }
    return kinds[recipe.optimizer](parameters, **common)


def make_schedule(recipe: Recipe, optimizer: Optimizer, updates_per_epoch: int) -> LRScheduler:
    """Returns the schedule of the recipe, to be moved after every update; it leaves momentum alone."""
    total = recipe.epochs * updates_per_epoch
    if recipe.schedule == "one-cycle":
        return lr_scheduler.OneCycleLR(optimizer, max_lr=recipe.lr, total_steps=total + 1, cycle_momentum=False)
    if recipe.schedule == "cyclic":
        up, down = -(-total // 2), max(total // 2, 1)
        return lr_scheduler.CyclicLR(optimizer, 0.0, recipe.lr, up, down, cycle_momentum=False)
    if recipe.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
    if recipe.schedule == "warm-restarts":
        return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=recipe.restart_epochs * updates_per_epoch)
    falls = [round(share * total) for share in recipe.milestones] if recipe.schedule == "step" else []
    return lr_scheduler.MultiStepLR(optimizer, milestones=falls, gamma=recipe.gamma)


def make_average(recipe: Recipe, module: nn.Module) -> AveragedModel | None:
    """Returns the running average of weights and buffers that the recipe asks for."""
    if recipe.average == "none":
        return None
    if recipe.average == "ema":
        rule = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
        average = AveragedModel(module, multi_avg_fn=rule, use_buffers=True)
    else:  # torch's fast rule for means refuses the integer buffers of BatchNorm
        average = AveragedModel(module, avg_fn=get_swa_avg_fn(), use_buffers=True)  # type: ignore[no-untyped-call]
    return average.requires_grad_(False)
