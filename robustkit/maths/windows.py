"""Square windows of an image: how far a change extends, where a window is best, and which values it covers."""

from __future__ import annotations

import torch
from torch import Tensor


def as_pictures(values: Tensor) -> Tensor:
    """Returns rows of any shape as (N, C, H, W): a table has one channel and height 1, a sequence height 1."""
    return values.reshape(len(values), values.shape[1] if values.ndim > 2 else 1, -1, values.shape[-1])


def side_of(changed: Tensor) -> Tensor:
    """Returns the side (N,) of the smallest square around all pixels marked in any channel (N, ...), 0 for none."""
    marks = as_pictures(changed).any(1)
    return torch.maximum(_span(marks.any(2)), _span(marks.any(1)))


def _span(marks: Tensor) -> Tensor:
    """Returns how many places there are from the first to the last marked one (N,)."""
    at = torch.arange(marks.shape[1], device=marks.device)
    first = torch.where(marks, at, marks.shape[1]).amin(1)
    last = torch.where(marks, at, -1).amax(1)
    return (last - first + 1).clamp(min=0)


def window_sums(values: Tensor, side: int) -> Tensor:
    """Returns the sums over all squares of that side, or as much of it as the picture has, (N, H', W').

    Args:
        values: Shape (N, H, W).
        side: In pixels, >= 1.
    """
    height, width = (min(side, extent) for extent in values.shape[1:])
    pooled = torch.nn.functional.avg_pool2d(values.unsqueeze(1), (height, width), stride=1)
    return pooled.squeeze(1) * (height * width)


def window_mask(place: Tensor, shape: torch.Size, side: int) -> Tensor:
    """Returns which pixels (N, H, W) the windows cover that are the `place`-th (N,) of `window_sums`.

    Args:
        place: Number of the window, row by row.
        shape: Of the pictures, (N, H, W).
        side: As for `window_sums`.
    """
    height, width = (min(side, extent) for extent in shape[1:])
    across = shape[2] - width + 1
    down, along = (torch.arange(extent, device=place.device) for extent in shape[1:])
    top, left = (place // across).unsqueeze(1), (place % across).unsqueeze(1)
    rows, columns = (down >= top) & (down < top + height), (along >= left) & (along < left + width)
    return rows.unsqueeze(2) & columns.unsqueeze(1)
