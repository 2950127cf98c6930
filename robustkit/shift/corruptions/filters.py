"""What several corruptions do to images (N, C, H, W): blurring them, smearing them out, zooming in."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Returns every channel convolved with a symmetric `kernel` of odd sides; pixels at the border go on outside."""
    down, right = (n // 2 for n in kernel.shape)
    grey = x.reshape(-1, 1, *x.shape[2:])
    return conv2d(pad(grey, (right, right, down, down), mode="replicate"), kernel[None, None]).view_as(x)


def gaussian(x: Tensor, sigma: float, reach: int | None = None) -> Tensor:
    """Returns `x` blurred by a Gaussian of standard deviation `sigma`, cut off `reach` pixels away (4 `sigma`)."""
    reach = math.ceil(4 * sigma) if reach is None else reach
    steps = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    weights = weights / weights.sum()
    return convolve(convolve(x, weights[None]), weights[:, None])


def disc(x: Tensor, radius: float) -> Tensor:
    """Returns `x` blurred by a disc whose edge falls off over one pixel."""
    reach = math.ceil(radius)
    steps = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    weights = (radius + 0.5 - torch.hypot(steps[:, None], steps)).clamp(0, 1)
    return convolve(x, weights / weights.sum())


def smear(x: Tensor, radius: float, sigma: float, degrees: Tensor) -> Tensor:
    """Returns `x` as seen from a moving camera that started here and fades: half of a Gaussian along one direction.

    Args:
        x: Images (N, C, H, W).
        radius: The trace is 2 `radius` + 1 pixels long.
        sigma: Standard deviation of the Gaussian, in pixels.
        degrees: Direction of every image, shape (N,).
    """
    angle = torch.deg2rad(degrees)
    height, width = x.shape[2:]
    pixel = torch.stack([2 * angle.cos() / width, 2 * angle.sin() / height], dim=1).view(-1, 1, 1, 2)
    grid = _grid(x, torch.eye(2, 3, device=x.device, dtype=x.dtype).expand(len(x), 2, 3))
    trace = range(math.ceil(2 * radius) + 1)
    weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in trace]
    seen = torch.zeros_like(x)
    for step, weight in zip(trace, weights, strict=True):
        seen += weight / sum(weights) * _look(x, grid + step * pixel, "border")
    return seen


def zoom(x: Tensor, factor: float) -> Tensor:
    """Returns the centre of `x`, `factor` times as large."""
    matrix = torch.eye(2, 3, device=x.device, dtype=x.dtype) / factor
    return _look(x, _grid(x, matrix.expand(len(x), 2, 3)), "border")


def warp(x: Tensor, matrix: Tensor, shift: Tensor | None = None, padding: str = "reflection") -> Tensor:
    """Returns `x` with every pixel fetched from elsewhere, between pixels bilinearly.

    Args:
        x: Images (N, C, H, W).
        matrix: Where from: maps (x, y, 1) to (x, y) in units in which the image spans -1..1, shape (N, 2, 3).
        shift: Added to that, in pixels along x and y, shape (N, H, W, 2).
        padding: What is outside: "reflection", "border" or "zeros".
    """
    grid = _grid(x, matrix)
    if shift is not None:
        grid = grid + shift * torch.tensor([2 / x.shape[3], 2 / x.shape[2]], device=x.device, dtype=x.dtype)
    return _look(x, grid, padding)


def _grid(x: Tensor, matrix: Tensor) -> Tensor:
    grid: Tensor = affine_grid(matrix, list(x.shape), align_corners=False)
    return grid


def _look(x: Tensor, grid: Tensor, padding: str) -> Tensor:
    return grid_sample(x, grid, mode="bilinear", padding_mode=padding, align_corners=False)
