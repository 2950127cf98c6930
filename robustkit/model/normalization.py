"""Where mean and std are applied to the input of a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError

Constant = float | Sequence[float] | Tensor


def constants(
    mean: Constant | None, std: Constant | None, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    """Returns mean and std as tensors; None where there is none.

    Raises:
        ConfigurationError: If std is not positive.
    """
    shift, scale = (None if c is None else torch.as_tensor(c, dtype=dtype, device=device) for c in (mean, std))
    if scale is not None and not bool((scale > 0).all()):
        raise ConfigurationError(f"Classifier: expected std > 0, got {std}")
    return shift, scale


def normalized(x: Tensor, mean: Tensor | None, std: Tensor | None) -> Tensor:
    """Returns (x - mean) / std for inputs (N, C, ...); one number per channel is meant for axis 1.

    Raises:
        ConfigurationError: If a constant does not fit the inputs.
    """
    for constant, apply in ((mean, torch.sub), (std, torch.div)):
        if constant is not None:
            constant = constant.view(-1, *[1] * (x.ndim - 2)) if constant.ndim == 1 else constant
            if not _broadcasts(constant, x):
                raise ConfigurationError(
                    f"Classifier: expected mean and std with one number per channel of inputs {tuple(x.shape)}, "
                    f"got shape {tuple(constant.shape)}; correct them"
                )
            x = apply(x, constant)
    return x


def _broadcasts(constant: Tensor, x: Tensor) -> bool:
    """Whether `constant` stretches to the shape of `x` without stretching `x`."""
    sizes = zip(reversed(constant.shape), reversed(x.shape), strict=False)
    return constant.ndim <= x.ndim and all(own in (1, other) for own, other in sizes)
