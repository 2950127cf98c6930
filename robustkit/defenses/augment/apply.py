"""Augmentation: random changes of training samples before the objective, and its attack, see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2

from robustkit.base.registry import Registry, named
from robustkit.base.settings import every, instance, integer, interval, read, split
from robustkit.defenses.augment.steps import STEPS, Step
from robustkit.defenses.base import Minibatch
from robustkit.maths.random_numbers import Stream


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Steps in a row, called with a `Minibatch` and returning the changed one.

    Random numbers follow from the seed of the batch, which differs in every epoch, and the id of the sample alone, or
    of the first of the batch where a step pairs samples. All but pairing runs on the CPU: every device sees the same.

    Attributes:
        steps: What to do, in order.
        bounds: Lowest and highest legal input.
        classes: Number of classes; labels become rows (N, classes) where a step pairs samples.
    """

    steps: tuple[Step, ...]
    bounds: tuple[float, float] = (0.0, 1.0)
    classes: int = 0

    def __post_init__(self) -> None:
        every("augment", "steps", self.steps, Step)
        interval("augment", "bounds", self.bounds)
        integer("augment", "classes", self.classes, 0)

    @property
    def mixes_labels(self) -> bool:
        """Whether labels become rows of probabilities."""
        return any(step.pairs for step in self.steps)

    def __call__(self, batch: Minibatch) -> Minibatch:
        """Returns the batch with other inputs, still within the bounds, and perhaps mixed labels.

        Raises:
            ConfigurationError: If a step cannot change such inputs.
        """
        (low, high), dtype = self.bounds, batch.x.dtype
        x = (batch.x.to(torch.promote_types(dtype, torch.float32)) - low) / (high - low)
        y = batch.y
        # torchvision draws where torch makes its tensors: by the generator of the CPU, the one that is seeded.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            for number, step in enumerate(self.steps):
                step.accept(x)
                transform = step.transform((x.shape[-2], x.shape[-1]) if x.ndim > 2 else (1, 1), self.classes)
                seeds = _seeds(batch, f"augment {number} {step.name}")
                if step.pairs:
                    _draw_from(seeds[0])
                    images = x if x.ndim == 4 else x.flatten(1)[:, None, None]
                    images, y = transform(images, y)
                    x = images.reshape(x.shape)
                else:
                    x = _each(transform, x.cpu(), seeds).to(x.device)
        changed = (x * (high - low) + low).clamp(low, high)
        # empty_like keeps the memory format, in which the model may be trained.
        return dataclasses.replace(
            batch, x=torch.empty_like(batch.x).copy_(changed), y=y if y is batch.y else y.to(dtype)
        )


KNOWN: Registry[type[Step]] = Registry(
    "augment",
    "robustkit.augmentations",
    STEPS,
    expected="a subclass of robustkit.defenses.augment.steps.Step with a name and a transform",
    fits=lambda value: named(value, Step),
)


def create_augmentation(spec: str, bounds: tuple[float, float] = (0.0, 1.0), classes: int = 0) -> Augmentation:
    """Returns what a text such as "flip+crop:padding=4+randaugment:magnitude=9" describes.

    Args:
        spec: Names, ours or those of plug-ins, or addresses of classes, `package.module:Class`, joined by "+", each
            with a colon and settings `name=value` parted by commas, if any.
        bounds: Lowest and highest legal input.
        classes: Number of classes, which mixup and cutmix need.

    Raises:
        ConfigurationError: If a step or a setting does not exist or a value is invalid.
    """
    instance("augment", "the text", spec, str)
    return Augmentation(steps=tuple(_step(part) for part in spec.split("+")), bounds=bounds, classes=classes)


def _step(spec: str) -> Step:
    name, items = split(spec, STEPS)
    kind = KNOWN.find(name)
    return kind(**read(f"augment {name}", items, [field.name for field in dataclasses.fields(kind)]))


def _seeds(batch: Minibatch, name: str) -> list[int]:
    """Returns one number of 32 bits, all that torch's generator takes, for every sample."""
    zero = torch.zeros_like(batch.ids)
    return (Stream(batch.seed, name).uniform((1,), batch.ids, zero, zero).flatten() * 2**32).long().tolist()


def _draw_from(seed: int) -> None:
    torch.default_generator.manual_seed(seed)


def _each(transform: v2.Transform, x: Tensor, seeds: Iterable[int]) -> Tensor:
    rows = []
    for row, seed in zip(x, seeds, strict=True):
        _draw_from(seed)
        rows.append(transform(row))
    return torch.stack(rows)
