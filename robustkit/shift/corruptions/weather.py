"""Weather: snow, frost, fog and glaring light (Hendrycks & Dietterich 2019, arXiv 1903.12261, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.shift.corruptions.filters import smear, zoom
from robustkit.shift.corruptions.random_draws import Draws, constants

_ICE = (0.78, 0.90, 1.0)  # red, green and blue of the brightest ice


def snow(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Whitens the image and lets flakes fall in front of it, smeared out along their path."""
    small = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )
    large = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )
    (mean, spread, size, least, radius, sigma, kept), scale = constants(x, severity, small, large)
    sky = zoom(mean + spread * draws.normal((1, *x.shape[2:])), max(1.0, size * scale))
    flakes = torch.where(sky < least, 0.0, sky.clamp(0, 1))
    flakes = smear(flakes, radius * scale, sigma * scale, -45 - 90 * draws.uniform((), 1))
    pale = kept * x + (1 - kept) * torch.maximum(x, 1.5 * _grey(x) + 0.5)
    return pale + flakes + flakes.flip(2, 3)


def frost(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Lays ice over the image, which shines through darker.

    Deviation: the original cuts its ice out of photographs; here it is drawn: patches of a random landscape, needles
    that are short smeared sparks in three directions, and veins where another landscape is at half its height.
    """
    small = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))
    large = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
    (kept, ice), _ = constants(x, severity, small, large)
    return kept * x + ice * _ice(x, draws)


def fog(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Mixes in a bank of fog, keeping the brightest value where it is.

    Deviation: the original's fog is a diamond-square fractal; here it is a sum of smooth surfaces with the same
    decay of height from one wavelength to the next half as long.
    """
    small = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))
    large = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
    (thick, decay), _ = constants(x, severity, small, large)
    size = (x.shape[2], x.shape[3])
    brightest = x.amax((1, 2, 3), keepdim=True)
    # The original multiplies the height twice by a factor that decays.
    return (x + thick * draws.landscape(size, decay**2)) * brightest / (brightest + thick)


def brightness(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Adds light: raises the value of hue, saturation and value, and so leaves the colour as it is."""
    light, _ = constants(x, severity, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5))
    value = x.amax(1, keepdim=True)
    brighter = (value + light).clamp(max=1)
    # At equal hue and saturation the channels keep their ratio; black has none and becomes grey.
    return torch.where(value > 0, x / value.clamp(min=torch.finfo(x.dtype).tiny) * brighter, brighter)


def _ice(x: Tensor, draws: Draws) -> Tensor:
    """Returns ice in 0..1, of the shape of `x`."""
    size = (x.shape[2], x.shape[3])
    side = min(size)
    patches = ((draws.landscape(size, 1.6, 0) - 0.3) * 2.2).clamp(0, 1)
    veins = (1 - 10 * (draws.landscape(size, 1.5, 1) - 0.5).abs()).clamp(0, 1)
    sparks = (draws.normal((1, *size), 2) > 1.9).to(x.dtype)
    first = 180 * draws.uniform((), 3)
    needles = torch.stack([smear(sparks, side / 10, side / 12, first + turn) for turn in (0, 60, 120)]).amax(0)
    needles = needles / needles.amax((2, 3), keepdim=True).clamp(min=0.1)
    white = (0.35 + 0.65 * patches) * (0.55 + 0.45 * needles + 0.35 * veins)
    tint = torch.tensor(_ICE if x.shape[1] == 3 else (1.0,), device=x.device, dtype=x.dtype).view(1, -1, 1, 1)
    # Thin ice is bluer than thick ice, which is white.
    return white.clamp(0, 1) * (tint + (1 - tint) * white.clamp(0, 1))


def _grey(x: Tensor) -> Tensor:
    """Returns the luma of ITU-R BT.601, shape (N, 1, H, W)."""
    if x.shape[1] == 1:
        return x
    weights = torch.tensor((0.299, 0.587, 0.114), device=x.device, dtype=x.dtype).view(1, 3, 1, 1)
    return (weights * x).sum(1, keepdim=True)
