"""Noise of the sensor: Gaussian, shot and impulse noise (Hendrycks & Dietterich 2019, arXiv 1903.12261, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.shift.corruptions.random_draws import Draws, constants


def gaussian_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Adds normal noise to every value: what a sensor does in the dark."""
    scale, _ = constants(x, severity, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38))
    return x + scale * draws.normal(tuple(x.shape[1:]))


def shot_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Counts photons: each value becomes a Poisson count whose mean is the value times the photons of white."""
    photons, _ = constants(x, severity, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3))
    return (poisson(x.double() * photons, draws.uniform(tuple(x.shape[1:])).double()) / photons).to(x.dtype)


def impulse_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Sets a share of the values to black or white, half of them each: bit errors, salt and pepper."""
    share, _ = constants(x, severity, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27))
    shape = tuple(x.shape[1:])
    return torch.where(draws.uniform(shape) < share, (draws.uniform(shape, 1) < 0.5).to(x.dtype), x)


def poisson(mean: Tensor, uniform: Tensor) -> Tensor:
    """Returns the smallest count k with P(count <= k) >= `uniform` for Poisson counts of mean `mean` >= 0, float64.

    The search begins at the quantile of Cornish and Fisher 1938, to second order, and is mostly over there.
    """
    # No light has no spread; a mean of 1 stands in for it on the way.
    light, u = torch.where(mean > 0, mean, 1.0).flatten(), uniform.flatten()
    z = torch.special.ndtri(u)
    k = (light + light.sqrt() * z + (z.square() - 1) / 6).floor().clamp(min=0)
    moving = torch.arange(len(k), device=k.device)
    while len(moving):
        now, rate, goal = k[moving], light[moving], u[moving]
        # P(count <= k) is gammaincc(k + 1, mean). Both sides ask the same function, so they cannot disagree for ever.
        up = torch.special.gammaincc(now + 1, rate) < goal
        down = ~up & (now > 0) & (torch.special.gammaincc(now.clamp(min=1), rate) >= goal)
        step = up.double() - down.double()
        k[moving] = now + step
        moving = moving[step != 0]
    return torch.where(mean > 0, k.view_as(mean), 0.0)
