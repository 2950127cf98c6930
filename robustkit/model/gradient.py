"""What a gradient is, how it is counted, and what becomes of entries that are not finite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass
class Tally:
    """What the model was asked: rows passed forward and backward, and gradients that came out zero or not finite.

    The last two may be tensors on the model's device, so that counting never waits for it; read them with int().
    """

    forwards: int = 0
    backwards: int = 0
    zero_gradients: int | Tensor = 0
    nonfinite_gradients: int | Tensor = 0


class Gradient(NamedTuple):
    """One forward and backward pass: `logits` (N, K), `loss` (N,) in float64, `grad` shaped like the input."""

    logits: Tensor
    loss: Tensor
    grad: Tensor


def finite(grad: Tensor, tally: Tally) -> Tensor:
    """Returns a gradient with 0 for what is not finite; rows that had such entries, or nothing but 0, are counted."""
    peak = grad.flatten(1).abs().amax(dim=1)  # several times as fast as vector_norm on a CPU; NaN stays NaN
    # Contiguous first: the gradient of a sum is one number seen many times, which cannot be changed in place.
    grad = grad.contiguous()
    if len(peak) and peak.device.type == "cpu":  # a GPU would have to be waited for
        least, most = peak.aminmax()
        if float(least) > 0 and float(most) < torch.inf:
            return grad
    tally.nonfinite_gradients = tally.nonfinite_gradients + (len(peak) - (peak < torch.inf).sum())
    tally.zero_gradients = tally.zero_gradients + (peak == 0).sum()
    return grad.nan_to_num_(0.0, 0.0, 0.0)
