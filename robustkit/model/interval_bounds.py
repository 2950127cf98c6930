"""Interval bounds: what a network can answer at most and at least where every input lies between two values."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from robustkit.base.errors import ConfigurationError

# Their outputs rise, or stay, where an input rises. Dropout is off in eval mode, which is what is bounded.
_RISING: tuple[type[nn.Module], ...] = (
    *(nn.ReLU, nn.LeakyReLU, nn.Softplus, nn.Sigmoid, nn.Tanh, nn.ReLU6, nn.Hardtanh, nn.Flatten, nn.Identity),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d),
)
_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def layers_of(module: nn.Module, who: str = "interval bounds", name: str = "") -> Iterator[nn.Module]:
    """Yields the layers of a Sequential network, in their order, all of a kind that can be bounded.

    Raises:
        ConfigurationError: If one cannot: it names it.
    """
    if _runs_as(module, nn.Sequential):
        for child_name, child in module.named_children():
            yield from layers_of(child, who, f"{name}.{child_name}".strip("."))
    elif _known(module):
        yield module
    else:
        at = f" at '{name}'" if name else ""
        raise ConfigurationError(
            f"{who}: expected a Sequential of linear, convolution, BatchNorm, rising activation and pooling layers,"
            f" got {type(module).__name__}{at}; use such a network, as mlp, cnn, lenet or strided are"
        )


def _runs_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Returns whether a module does what layers of a kind do, and nothing beside it."""
    hooked = module._forward_hooks or module._forward_pre_hooks
    return isinstance(module, kind) and type(module).forward is kind.forward and not hooked


def _known(layer: nn.Module) -> bool:
    if isinstance(layer, nn.LeakyReLU) and layer.negative_slope < 0:
        return False
    if isinstance(layer, _BatchNorm) and layer.running_mean is None:
        return False  # it has no eval mode of its own
    if getattr(layer, "return_indices", False):
        return False
    return any(_runs_as(layer, kind) for kind in (*_RISING, *_DROPOUT, *_LINEAR))


def propagate(layer: nn.Module, low: Tensor, high: Tensor, learning: bool = False) -> tuple[Tensor, Tensor]:
    """Returns bounds of what a layer gives in eval mode for inputs between `low` and `high` (N, ...).

    Gowal et al. 2018, arXiv 1810.12715, section 3. Exact for one layer; rounding is not accounted for.
    `learning`: a BatchNorm in training mode takes the statistics of the middles of this batch, which bounds nothing.
    """
    if isinstance(layer, _DROPOUT):
        return low, high
    if not isinstance(layer, (nn.Linear, _ConvNd, _BatchNorm)):
        # A layer may work in place on its input.
        return layer(low.clone()), layer(high.clone())
    middle, radius = (high + low) / 2, (high - low) / 2
    if isinstance(layer, nn.Linear):
        middle, radius = linear(middle, layer.weight, layer.bias), linear(radius, layer.weight.abs())
    elif isinstance(layer, _ConvNd):
        forward = layer._conv_forward  # which knows the padding
        middle, radius = forward(middle, layer.weight, layer.bias), forward(radius, layer.weight.abs(), None)
    else:
        mean, var = layer.running_mean, layer.running_var
        assert mean is not None
        assert var is not None
        if learning and layer.training:
            over = [0, *range(2, middle.ndim)]
            mean, var = middle.mean(over), middle.var(over, correction=0)
        shape = (-1, *[1] * (middle.ndim - 2))
        scale = (var + layer.eps).rsqrt() * (1.0 if layer.weight is None else layer.weight)
        shift = -mean * scale if layer.bias is None else layer.bias - mean * scale
        middle = middle * scale.reshape(shape) + shift.reshape(shape)
        radius = radius * scale.abs().reshape(shape)
    return middle - radius, middle + radius


def interval_bounds(module: nn.Module, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Returns bounds (N, K) of the output of a Sequential network in eval mode for inputs between `low` and `high`.

    Raises:
        ConfigurationError: If a layer cannot be bounded.
    """
    for layer in list(layers_of(module)):
        low, high = propagate(layer, low, high)
    return low, high


def worst_margins(
    module: nn.Module, low: Tensor, high: Tensor, y: Tensor, who: str = "interval bounds", learning: bool = False
) -> Tensor:
    """Returns an upper bound (N, K) of logit j minus the logit of the label, 0 at the label itself.

    A linear last layer is taken together with the difference, which is tighter (section 3 of the paper). A sample is
    certified where all others are below 0.

    Args:
        module: A Sequential network that returns logits.
        low: Least inputs (N, ...), as the module takes them.
        high: Greatest inputs.
        y: Labels (N,).
        who: For messages.
        learning: For a loss alone: BatchNorm in training mode takes statistics of the batch, and bounds are none.

    Raises:
        ConfigurationError: If a layer cannot be bounded.
    """
    *body, last = layers_of(module, who)
    for layer in body:
        low, high = propagate(layer, low, high, learning)
    if isinstance(last, nn.Linear) and low.ndim == 2:
        rows = last.weight.unsqueeze(0) - last.weight[y].unsqueeze(1)  # (N, K, features)
        middle, radius = (high + low) / 2, (high - low) / 2
        worst = torch.einsum("nkf,nf->nk", rows, middle) + torch.einsum("nkf,nf->nk", rows.abs(), radius)
        return worst if last.bias is None else worst + last.bias - last.bias[y].unsqueeze(1)
    low, high = propagate(last, low, high, learning)
    return (high - low.gather(1, y.unsqueeze(1))).scatter(1, y.unsqueeze(1), 0)
