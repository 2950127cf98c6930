"""The 15 common corruptions in 5 severities, vectorised on the device of the images.

Hendrycks & Dietterich 2019, "Benchmarking neural network robustness to common corruptions and perturbations", arXiv
1903.12261. The constants are those of CIFAR-10-C below 64 pixels a side and those of ImageNet-C from there on, with
lengths in proportion to the side. The pictures are not those of the published sets, bit for bit: for figures that
shall stand beside published ones, evaluate on the published files. Frost, fog, glass blur and the elastic transform
deviate in a way their docstrings name; values are not rounded to 8 bits but by JPEG.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.registry import Registry
from robustkit.base.settings import instance, integer
from robustkit.base.settings import seed as known_seed
from robustkit.shift.corruptions.blur import defocus_blur, glass_blur, motion_blur, zoom_blur
from robustkit.shift.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate
from robustkit.shift.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from robustkit.shift.corruptions.random_draws import Draws
from robustkit.shift.corruptions.weather import brightness, fog, frost, snow

__all__ = ["CORRUPTIONS", "SEVERITIES", "corrupt"]

Corruption = Callable[[Tensor, int, Draws], Tensor]
CORRUPTIONS: dict[str, Corruption] = {
    function.__name__: function
    for function in (
        *(gaussian_noise, shot_noise, impulse_noise),
        *(defocus_blur, glass_blur, motion_blur, zoom_blur),
        *(snow, frost, fog, brightness),
        *(contrast, elastic_transform, pixelate, jpeg_compression),
    )
}
SEVERITIES = (1, 2, 3, 4, 5)
KNOWN: Registry[Corruption] = Registry(
    "corruption",
    "robustkit.corruptions",
    CORRUPTIONS,
    expected="a function of images, severity and draws",
    fits=callable,
)
_VALUES = 2**21  # worked on at once, so that the integers behind random numbers stay small


def corrupt(x: Tensor, name: str, severity: int, ids: Tensor, seed: int = 0) -> Tensor:
    """Returns corrupted images like `x`; each depends on its own pixels, its id and the seed alone.

    Args:
        x: Images (N, 1 or 3, H, W) in 0..1; device and floating dtype are kept.
        name: A key of `CORRUPTIONS`, a plug-in's name, or the address of a function, `package.module:function`.
        severity: From 1 to 5. All severities of a sample share their random numbers.
        ids: Sample ids, integers from 0, shape (N,).
        seed: Of all random numbers.

    Raises:
        ConfigurationError: If the name or the severity is unknown, or there is not one id per image.
        InvalidEvaluation: If `x` holds no images in 0..1.
    """
    instance("corrupt", "name", name, str)
    corruption = KNOWN.find(name)
    severity, seed = integer("corrupt", "severity", severity, 1, len(SEVERITIES)), known_seed("corrupt", seed)
    for setting, value in (("x", x), ("ids", ids)):
        instance("corrupt", setting, value, Tensor)
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not x.is_floating_point():
        raise InvalidEvaluation(
            f"corrupt: expected floating-point images (N, 1 or 3, H, W), got {x.dtype} of shape {tuple(x.shape)};"
            " only images can be corrupted"
        )
    if ids.shape != x.shape[:1]:
        raise ConfigurationError(f"corrupt: expected {len(x)} ids, got shape {tuple(ids.shape)}; give one per image")
    if x.numel() and not (x.amin() >= 0 and x.amax() <= 1):
        raise InvalidEvaluation(
            f"corrupt: expected images in 0..1, got {x.amin():.4g}..{x.amax():.4g}; scale them, and let the"
            " Classifier normalise"
        )
    working = x.detach() if x.dtype == torch.float64 else x.detach().float()
    rows = max(1, _VALUES // max(1, math.prod(x.shape[1:])))
    parts = [
        corruption(part, severity, Draws(seed, name, some, part)).clamp(0, 1)
        for part, some in zip(torch.split(working, rows), torch.split(ids, rows), strict=True)
    ]
    if any(new.shape != old.shape for new, old in zip(parts, torch.split(working, rows), strict=True)):
        raise ConfigurationError(
            f"corruption '{name}': expected images of the shape it was given, got others; correct it"
        )
    return torch.cat(parts).to(x.dtype)
