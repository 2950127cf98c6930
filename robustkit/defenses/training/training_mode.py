"""What training borrows from the model and from torch, and gives back: memory format, flags, random generators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from robustkit.defenses.training.recipe import Recipe
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier


def memory_format(recipe: Recipe, x: Tensor) -> torch.memory_format | None:
    """Returns channels_last where inputs `x` are images to train in that order, else None: as they are."""
    wanted = x.device.type == "cpu" if recipe.channels_last is None else recipe.channels_last
    return torch.channels_last if wanted and x.ndim == 4 else None


@contextmanager
def training_mode(classifier: Classifier, layout: torch.memory_format | None) -> Iterator[None]:
    """Context with the weights in a memory format, after which the module is in eval mode and all else as it was."""
    formats = [(p, p.data) for p in classifier.module.parameters() if layout and p.ndim == 4]
    for parameter, _ in formats:
        parameter.data = parameter.data.contiguous(memory_format=layout or torch.preserve_format)
    wanted = [(parameter, parameter.requires_grad) for parameter in classifier.module.parameters()]
    try:
        with torch.random.fork_rng(devices=[classifier.device] if classifier.device.type == "cuda" else []):
            yield
    finally:
        for parameter, requires_grad in wanted:
            parameter.requires_grad_(requires_grad)
            parameter.grad = None
        for parameter, before in formats:
            parameter.data = before.copy_(parameter.data)
        classifier.module.eval()


def seed_dropout(seed: int, name: str, device: torch.device) -> None:
    """Seeds torch's generators, which dropout uses, from (seed, name); call it inside `training_mode` only."""
    number = Stream(seed, name).number % 2**63
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(number)
