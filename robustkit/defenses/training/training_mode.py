"""What training borrows from the model and from torch, and gives back: memory format, flags, random generators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.defenses.training.recipe import Recipe
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier


def memory_format(recipe: Recipe, x: Tensor) -> torch.memory_format | None:
    """Returns channels_last where inputs `x` are images to train in that order, else None: as they are."""
    wanted = x.device.type == "cpu" if recipe.channels_last is None else recipe.channels_last
    return torch.channels_last if wanted and x.ndim == 4 else None


def tried_format(
    classifier: Classifier, layout: torch.memory_format | None, recipe: Recipe, x: Tensor
) -> tuple[torch.memory_format | None, str | None]:
    """Returns the memory format in which a pass through the model works, and what it raises in `layout`, if anything.

    Code that calls `view` behind a convolution, say, works with the usual order only.

    Args:
        classifier: The model; left as it was.
        layout: What `memory_format` returned.
        recipe: Whether the caller asked for it.
        x: A few inputs, laid out like that.

    Raises:
        ConfigurationError: If the caller asked for a format in which the model fails.
    """
    refusal = _failure(classifier, layout, x) if layout else None
    if refusal is None or _failure(classifier, None, x.contiguous()):  # that of the model itself shows in training
        return layout, None
    if recipe.channels_last:
        raise ConfigurationError(
            f"fit: expected a model that works with channels_last, got {one_line(refusal)}; leave channels_last out"
        )
    return None, one_line(refusal)


def _failure(classifier: Classifier, layout: torch.memory_format | None, x: Tensor) -> Exception | None:
    """Returns what a forward and backward pass raises, in training mode or in eval mode, if anything."""
    asked, module = classifier.replace(), classifier.module
    try:
        with asked.frozen(), _laid_out(asked, layout):
            for mode in (True, False):
                module.train(mode)
                asked.logits(x.detach().requires_grad_()).sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        return error
    return None


@contextmanager
def _laid_out(classifier: Classifier, layout: torch.memory_format | None) -> Iterator[None]:
    """Context with the weights in a memory format; what they have become is kept, in the order they had."""
    formats = [(p, p.data) for p in classifier.module.parameters() if layout and p.ndim == 4]
    for parameter, _ in formats:
        parameter.data = parameter.data.contiguous(memory_format=layout or torch.preserve_format)
    try:
        yield
    finally:
        for parameter, before in formats:
            parameter.data = before.copy_(parameter.data)


@contextmanager
def training_mode(classifier: Classifier, layout: torch.memory_format | None) -> Iterator[None]:
    """Context with the weights in a memory format, after which the module is in eval mode and all else as it was."""
    wanted = [(parameter, parameter.requires_grad) for parameter in classifier.module.parameters()]
    try:
        devices = [classifier.device] if classifier.device.type == "cuda" else []
        with _laid_out(classifier, layout), torch.random.fork_rng(devices=devices):
            yield
    finally:
        for parameter, requires_grad in wanted:
            parameter.requires_grad_(requires_grad)
            parameter.grad = None
        classifier.module.eval()


def seed_dropout(seed: int, name: str, device: torch.device) -> None:
    """Seeds torch's generators, which dropout uses, from (seed, name); call it inside `training_mode` only."""
    number = Stream(seed, name).number % 2**63
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(number)
