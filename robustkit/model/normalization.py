"""Where mean and std are applied to the input of a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError
from robustkit.base.per_coordinate import Bounds, by_coordinate, overall
from robustkit.base.settings import wrong

Constant = float | Sequence[float] | Tensor


def constants(
    mean: Constant | None, std: Constant | None, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    """Returns mean and std as tensors; None where there is none.

    Raises:
        ConfigurationError: If std is not positive.
    """
    given = (("mean", mean), ("std", std))
    shift, scale = (None if c is None else _numbers(name, c, dtype, device) for name, c in given)
    if scale is not None and not bool((scale > 0).all()):
        raise ConfigurationError(f"Classifier: expected std > 0, got {std}; correct it")
    return shift, scale


def _numbers(name: str, value: Constant, dtype: torch.dtype, device: torch.device) -> Tensor:
    try:
        found = torch.as_tensor(value, dtype=dtype, device=device)
        kind = torch.as_tensor(value, device="cpu").dtype
        usable = kind != torch.bool and not kind.is_complex and found.numel() and bool(found.isfinite().all())
    except (TypeError, ValueError, RuntimeError):
        usable = False
    if not usable:
        raise wrong("Classifier", name, value, "a finite number, or one per channel")
    return found


def refuse_other_units(mean: Tensor | None, std: Tensor | None, bounds: Bounds) -> None:
    """Refuses mean and std in grey levels for inputs in 0..1, and those of 0..1 for inputs in grey levels.

    Raises:
        ConfigurationError: Naming the values in the units of the inputs.
    """
    low, high = overall(bounds)
    if low < 0 or by_coordinate(*bounds):
        return
    shift, scale = (0.0 if c is None else float(c.max()) for c in (mean, std))
    if high <= 1 and (shift > 1 or scale > 10):
        factor, units = 1 / 255, "grey levels; divide them by 255"
    elif high >= 100 and 0 < shift <= 1 and 0 < scale <= 1:
        factor, units = 255, "units of 0..1; multiply them by 255, or divide the inputs by 255"
    else:
        return
    got = " and ".join(f"{name} {_listed(c)}" for name, c in (("mean", mean), ("std", std)) if c is not None)
    try_ = " and ".join(f"{name} {_listed(c * factor)}" for name, c in (("mean", mean), ("std", std)) if c is not None)
    raise ConfigurationError(
        f"Classifier: expected mean and std in the units of inputs in {low:g}..{high:g}, got {got}, which seem to be in"
        f" {units}: {try_}"
    )


def _listed(constant: Tensor) -> str:
    values = constant.flatten().tolist()
    return ",".join(f"{value:.4g}" for value in values[:4]) + (",..." if len(values) > 4 else "")


def normalized(x: Tensor, mean: Tensor | None, std: Tensor | None) -> Tensor:
    """Returns (x - mean) / std for inputs (N, ...); one number per channel is meant for the axis that is as long.

    Raises:
        ConfigurationError: If a constant does not fit the inputs, or several of their axes.
    """
    for constant, apply in ((mean, torch.sub), (std, torch.div)):
        if constant is not None:
            constant = _along_channels(constant, x) if constant.ndim == 1 and len(constant) > 1 else constant
            if not _broadcasts(constant, x):
                raise _does_not_fit(x, f"shape {tuple(constant.shape)}; correct them")
            x = apply(x, constant)
    return x


def _along_channels(constant: Tensor, x: Tensor) -> Tensor:
    """Returns `constant` (C,) shaped to broadcast along the axis of `x` (N, ...) that has C entries.

    Where several have, it is axis 1 of images (N, C, H, W), whose height may happen to be C; other layouts are not
    guessed. Height, and what else is never an axis of channels, is not taken either.
    """
    axes = [axis for axis in range(1, x.ndim) if x.shape[axis] == len(constant)]
    if len(axes) > 1 and not (x.ndim == 4 and axes[0] == 1):
        shapes = " or ".join(str((len(constant), *[1] * (x.ndim - axis - 1))) for axis in axes)
        raise _does_not_fit(
            x,
            f"{len(constant)} numbers, which fit axes {' and '.join(map(str, axes))}; "
            f"give a tensor that broadcasts, of shape {shapes}",
        )
    usual = {1, x.ndim - 1, 2 if x.ndim == 5 else 1}  # channels first, last, or after the frames of a film
    axis = axes[0] if axes and axes[0] in usual else 1
    return constant.view(-1, *[1] * (x.ndim - axis - 1))


def _does_not_fit(x: Tensor, got: str) -> ConfigurationError:
    return ConfigurationError(
        f"Classifier: expected mean and std with one number per channel of inputs {tuple(x.shape)}, got {got}"
    )


def _broadcasts(constant: Tensor, x: Tensor) -> bool:
    """Whether `constant` stretches to the shape of `x` without stretching `x`."""
    sizes = zip(reversed(constant.shape), reversed(x.shape), strict=False)
    return constant.ndim <= x.ndim and all(own in (1, other) for own, other in sizes)
