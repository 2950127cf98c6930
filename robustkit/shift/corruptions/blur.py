"""Blur of the lens and of motion (Hendrycks & Dietterich 2019, arXiv 1903.12261, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.shift.corruptions.filters import disc, gaussian, smear, zoom
from robustkit.shift.corruptions.random_draws import Draws, constants


def defocus_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Blurs by a disc and its edge by a Gaussian: a lens out of focus."""
    small = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))
    large = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
    (radius, edge), scale = constants(x, severity, small, large)
    return gaussian(disc(x, radius * scale), edge, reach=1 if radius <= 8 else 2)


def glass_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Shuffles pixels among near neighbours, between two slight blurs: frosted glass.

    Deviations: the original swaps pixels one after the other; here each takes the value of a random neighbour, all at
    once. In small images the constants of CIFAR-10-C do not order the damage, because its stronger blurs hide the
    shuffling; here the blur stays and ever more pixels move.
    """
    small = ((0.4, 1, 1, 0.2), (0.4, 1, 1, 0.4), (0.4, 1, 1, 0.6), (0.4, 1, 1, 0.8), (0.4, 1, 1, 1.0))
    large = ((0.7, 1, 2, 1.0), (0.9, 2, 1, 1.0), (1, 2, 3, 1.0), (1.1, 3, 2, 1.0), (1.5, 4, 2, 1.0))
    (sigma, far, rounds, share), scale = constants(x, severity, small, large)
    far = max(1, round(far * scale))
    height, width = x.shape[2:]
    row = torch.arange(height, device=x.device).view(1, -1, 1)
    column = torch.arange(width, device=x.device)
    seen = gaussian(x, sigma * scale)
    for turn in range(rounds):
        down, right, moves = draws.uniform((3, height, width), turn).unbind(1)
        step = (torch.stack([down, right], 1) * (2 * far + 1)).long() - far
        step = step * (moves < share).unsqueeze(1)
        source = (row + step[:, 0]).clamp(0, height - 1) * width + (column + step[:, 1]).clamp(0, width - 1)
        seen = seen.flatten(2).gather(2, source.flatten(1)[:, None].expand(-1, x.shape[1], -1)).view_as(x)
    return gaussian(seen, sigma * scale)


def motion_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Smears the image out along a random direction within 45 degrees of the horizontal."""
    small = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))
    large = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
    (radius, sigma), scale = constants(x, severity, small, large)
    return smear(x, radius * scale, sigma * scale, 90 * draws.uniform(()) - 45)


def zoom_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Averages the image with ever larger ones: a camera that moves towards it."""
    small = ((5, 0.01), (10, 0.01), (15, 0.01), (20, 0.01), (25, 0.01))
    large = ((10, 0.01), (15, 0.01), (10, 0.02), (12, 0.02), (10, 0.03))
    (steps, width), _ = constants(x, severity, small, large)
    return (x + sum(zoom(x, 1 + step * width) for step in range(steps + 1))) / (steps + 2)
