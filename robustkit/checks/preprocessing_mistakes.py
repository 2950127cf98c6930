"""What is usually wrong with the inputs of a model: other constants, another scale, another order of the axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from robustkit.base.per_coordinate import Bounds, overall
from robustkit.model.classifier import Classifier

Known = Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
# In units of the input range: what, mean and std.
COLOUR: Known = {
    "of ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "of CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    "of CIFAR-100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "of CLIP": ((0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)),
}
GREY: Known = {"of MNIST": ((0.1307,), (0.3081,)), "of Fashion-MNIST": ((0.286,), (0.353,))}
RANGES: Known = {
    "for inputs in 0..255": ((0.0,), (1 / 255,)),
    "for inputs in 0..1": ((0.0,), (1.0,)),
    "of ImageNet for inputs in 0..255": ((0.485, 0.456, 0.406), (1 / 255,) * 3),
}
HALVES: Known = {"0.5 and 0.5": ((0.5,), (0.5,))}


@dataclass(frozen=True)
class Changed:
    """One change: what it is, what to do, the settings of the classifier, and what happens to the inputs."""

    change: str
    cure: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    apply: Callable[[Tensor], Tensor] = lambda x: x


def other_constants(classifier: Classifier, x: Tensor) -> Iterator[Changed]:
    """Yields other means and standard deviations: none, the given ones by 255, the model's own, the known ones."""
    low, high = overall(classifier.bounds)
    if classifier.mean is not None or classifier.std is not None:
        own = "the model seems to normalise its input itself; omit mean and std"
        yield Changed("without mean and std", own, {"mean": None, "std": None})
        by_255 = [None if c is None else c / 255 for c in (classifier.mean, classifier.std)]
        yield _constants("divided by 255", *by_255)
        yield _constants("times 255", *(None if c is None else c * 255 for c in (classifier.mean, classifier.std)))
    axis = _channel_axis(x)
    channels = 1 if axis is None else x.shape[axis]
    usual = COLOUR if channels == 3 else GREY if axis is not None else {}
    known = {**_configured(classifier.module), **usual, **RANGES, **HALVES}
    for name, constants in known.items():
        mean, std = (torch.tensor(c, dtype=torch.float64, device="cpu") * (high - low) for c in constants)
        if len(mean) in (1, channels) and len(std) in (1, channels):
            yield _constants(name, mean + low, std)


def own_constants(x: Tensor) -> Changed:
    """Returns the mean and standard deviation of the inputs themselves, per channel or feature."""
    axis = _channel_axis(x) or 1
    rest = [i for i in range(x.ndim) if i != axis]
    spread = x.double().std(rest, correction=0)
    return _constants("of these data", x.double().mean(rest), torch.where(spread > 0, spread, 1.0))


def _constants(name: str, mean: Tensor | None, std: Tensor | None) -> Changed:
    given = {"mean": mean, "std": std}
    typed = " ".join(f"--{option} {_text(c)}" for option, c in given.items() if c is not None)
    settings = {option: c.flatten() if c is not None and c.numel() > 1 else c for option, c in given.items()}
    return Changed(f"with mean and std {name}", f"give {typed}", settings)


def _text(constant: Tensor) -> str:
    numbers = constant.flatten().tolist()
    return ",".join(f"{c:.6g}" for c in numbers) if len(numbers) <= 4 else "with the training data's, one per feature"


def _configured(module: nn.Module) -> Known:
    """Returns the constants that a model carries in its configuration, as timm's models do."""
    for part in module.modules():
        for name in ("pretrained_cfg", "default_cfg"):
            config = getattr(part, name, None)
            if isinstance(config, Mapping) and config.get("mean") and config.get("std"):
                return {f"of the model's own {name}": (tuple(config["mean"]), tuple(config["std"]))}
    return {}


def _channel_axis(x: Tensor) -> int | None:
    """Returns which axis of images or films (N, ...) holds one or three channels, None where none does."""
    if x.ndim < 4:
        return None
    return next((axis for axis in (1, x.ndim - 1, 2) if x.shape[axis] in (1, 3)), None)


def other_colours(x: Tensor) -> Iterator[Changed]:
    """Yields BGR for RGB."""
    axis = _channel_axis(x)
    if axis is not None and x.shape[axis] == 3:
        bgr = f"the model wants BGR, not RGB, or the data are BGR: reverse the channels of the data (x.flip({axis}))"
        yield Changed("with the channels reversed", bgr, apply=lambda x: x.flip(axis))


def other_inputs(x: Tensor, bounds: Bounds) -> Iterator[Changed]:
    """Yields other readings of the same inputs: another order of channels or axes, light and dark exchanged."""
    ends = sum(overall(bounds))
    inverted = "invert the data (low + high - x)"
    yield Changed("with inverted inputs", inverted, apply=lambda x: ends - x)
    yield from other_colours(x)
    if x.ndim != 4:
        return
    turned = "transpose the data (x.transpose(-1, -2))"
    yield Changed("with height and width exchanged", turned, apply=lambda x: x.transpose(-1, -2).contiguous())
    yield Changed("upside down", "flip the data (x.flip(-2))", apply=lambda x: x.flip(-2))
    last = "give x.permute(0, 2, 3, 1)"
    yield Changed("with the channels last", last, apply=lambda x: x.permute(0, 2, 3, 1).contiguous())
    first = "give x.permute(0, 3, 1, 2)"
    yield Changed("with the channels first", first, apply=lambda x: x.permute(0, 3, 1, 2).contiguous())
