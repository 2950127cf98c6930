"""Which inputs a model may be given: finite floating-point numbers within its input range."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robustkit.base.errors import InvalidEvaluation
from robustkit.base.per_coordinate import Bounds, by_coordinate, ends_on, overall
from robustkit.base.settings import shown
from robustkit.data.labels import as_tensor
from robustkit.data.layout import TOKENS


def inputs(given: Any, bounds: Bounds) -> Tensor:
    """Returns inputs as a tensor (N, ...).

    Raises:
        InvalidEvaluation: If it is none, empty, not floating point, not finite, or leaves the bounds by more than a few
            units in the last place of float32.
    """
    x = given if isinstance(given, Tensor) else _as_inputs(given)
    if x.ndim == 0 or len(x) == 0:
        raise InvalidEvaluation("Classifier: expected at least one input, got none; check the data")
    if not x.is_floating_point():
        raise InvalidEvaluation(
            f"Classifier: expected floating-point inputs in {bounds}, got {x.dtype}; "
            + (
                TOKENS
                if x.ndim == 2 and x.dtype in (torch.int32, torch.int64)
                else "convert them (bytes: x.float() / 255)"
            )
        )
    if not bool(x.isfinite().all()):
        row = int((~x.isfinite()).flatten(1).any(dim=1).nonzero()[0])
        raise InvalidEvaluation(f"Classifier: expected finite inputs, got NaN or infinity in row {row}; clean the data")
    if by_coordinate(*bounds):
        return _within_each(x, bounds)
    low, high = overall(bounds)
    least, most = x.min().item(), x.max().item()
    slack = 8 * torch.finfo(torch.float32).eps * max(abs(low), abs(high))
    if least < low - slack or most > high + slack:
        raise InvalidEvaluation(
            f"Classifier: expected inputs within {low:g}..{high:g}, got {least:.4g}..{most:.4g}; "
            + _range_advice(least, most)
        )
    return x


def _within_each(x: Tensor, bounds: Bounds) -> Tensor:
    """Returns inputs whose range differs by coordinate."""
    low, high = (end.double() for end in ends_on(bounds, x))
    slack = 8 * torch.finfo(torch.float32).eps * torch.maximum(_size(low), _size(high))
    out = torch.maximum(low - slack - x, x - high - slack)
    if bool((out > 0).any()):
        row, *where = at = tuple((out > 0).nonzero()[0].tolist())
        low, high, value = (float(one.expand(x.shape)[at]) for one in (low, high, x))
        raise InvalidEvaluation(
            f"Classifier: expected inputs within their bounds, got {value:.6g} at coordinate "
            f"{where[0] if len(where) == 1 else tuple(where)} of row {row}, outside {low:g}..{high:g}; rescale the "
            "inputs or correct bounds="
        )
    return x


def _size(end: Tensor) -> Tensor:
    return torch.where(end.isfinite(), end.abs(), 0.0)


def _range_advice(least: float, most: float) -> str:
    if least < 0 and most <= 15:
        return "they look normalised: pass unnormalised inputs and give mean= and std= to the Classifier"
    if least >= 0 and 1 < most <= 255:
        return "they look like grey levels: divide by 255, or set bounds=(0, 255)"
    return "rescale the inputs or correct bounds="


def _as_inputs(x: Any) -> Tensor:
    try:
        return as_tensor(x)
    except (TypeError, ValueError, RuntimeError):
        raise InvalidEvaluation(
            f"Classifier: expected inputs as a tensor or an array, got {shown(x)}; convert them (torch.as_tensor)"
        ) from None
