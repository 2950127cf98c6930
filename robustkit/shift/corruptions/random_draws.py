"""The chance in a corruption: numbers and random landscapes that belong to a sample, not to a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from robustkit.maths.random_numbers import Stream

T = TypeVar("T")
SMALL = 64  # below this many pixels a side, the constants of CIFAR-10-C hold
_REFERENCE = 224  # pixels a side that the constants of ImageNet-C are meant for
_OCTAVES = 32  # draws set aside for each `which`


class Draws:
    """The random numbers of one corruption for some samples.

    They do not depend on the severity: a stronger corruption of a sample is more of the same, not another one.

    Args:
        seed: Of all numbers.
        name: Of the corruption.
        ids: Sample ids, int64 in [0, 2**63), shape (N,).
        like: A tensor whose device and dtype the numbers take.
    """

    def __init__(self, seed: int, name: str, ids: Tensor, like: Tensor) -> None:
        self._stream = Stream(seed, f"corruption/{name}")
        self._ids, self._dtype = ids.to(like.device), like.dtype

    def uniform(self, shape: tuple[int, ...], which: int = 0, octave: int = 0) -> Tensor:
        """Returns numbers strictly between 0 and 1, shape (N, *shape), the same for the same `which` and `octave`."""
        numbers = self._stream.uniform(shape, *self._place(which, octave)).to(self._dtype)
        return numbers.clamp(max=1 - torch.finfo(self._dtype).eps / 2)  # float32 would round the largest up to 1

    def normal(self, shape: tuple[int, ...], which: int = 0) -> Tensor:
        """Returns standard normal numbers, shape (N, *shape)."""
        return self._stream.normal(shape, *self._place(which, 0)).to(self._dtype)

    def landscape(self, size: tuple[int, int], decay: float, which: int = 0) -> Tensor:
        """Returns heights that span 0..1 in every sample, shape (N, 1, *size).

        A sum of smooth random surfaces, each of half the wavelength and 1/`decay` of the height of the one before.

        Args:
            size: Height and width, in pixels.
            decay: How much lower the finer surfaces are; 1 is rough, 4 smooth.
            which: Landscapes of different numbers are independent.
        """
        octaves = math.ceil(math.log2(max(size)))
        heights = torch.zeros((), device="cpu")
        for octave in range(1, octaves + 1):
            points = (1, 2**octave + 1, 2**octave + 1)
            # Pixels without channels, as if they were a batch of grey images.
            surface = interpolate(self.uniform(points, which, octave), size, mode="bicubic", align_corners=True)
            heights = heights.to(surface) + surface / decay**octave
        low, high = heights.amin((2, 3), keepdim=True), heights.amax((2, 3), keepdim=True)
        return (heights - low) / (high - low)

    def _place(self, which: int, octave: int) -> tuple[Tensor, Tensor, Tensor]:
        restart = torch.zeros_like(self._ids)
        return self._ids, restart, restart + which * _OCTAVES + octave


def constants(x: Tensor, severity: int, small: Sequence[T], large: Sequence[T]) -> tuple[T, float]:
    """Returns the setting for images `x` (N, C, H, W), and how many pixels one of its pixels stands for.

    Args:
        x: Images; their shorter side decides.
        severity: From 1 to 5.
        small: Settings of CIFAR-10-C by severity, taken as they are below 64 pixels.
        large: Settings of ImageNet-C by severity; their lengths are for 224 pixels and grow with the image.
    """
    side = min(x.shape[2:])
    return (small[severity - 1], 1.0) if side < SMALL else (large[severity - 1], side / _REFERENCE)
