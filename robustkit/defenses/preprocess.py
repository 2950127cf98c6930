"""Preprocessing defences: what is done to an input before the model, as modules that an attack can see through.

None of these has a useful gradient, so each declares the substitute that attackers differentiate in its place
(`robustkit.model.bpda`). Put one before a network with ``nn.Sequential(JPEG(), network)``; where a Classifier
normalises its inputs, put it before ``Logits(classifier)``, so that it sees inputs in 0..1. Attacked this way, these
defences are known to add next to nothing (Athalye et al. 2018, arXiv 1802.00420, section 5.2).
"""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.settings import integer
from robustkit.model.bpda import BPDA


class JPEG(nn.Module):
    """Images in 0..1 written as JPEG and read again; the substitute is the identity.

    Dziugaite, Ghahramani & Roy 2016, arXiv 1608.00853. Pillow's codec, on the CPU, image by image
    (torchvision's is deprecated).

    Args:
        quality: From 1 to 100; 75 is usual.

    Raises:
        ConfigurationError: If `quality` is out of range.
    """

    def __init__(self, quality: int = 75) -> None:
        super().__init__()
        quality = integer("jpeg", "quality", quality, 1, 100)
        self.quality = quality
        self.bpda = BPDA(self._recode)

    def forward(self, x: Tensor) -> Tensor:
        """Returns images of the shape of `x` (N, 1 or 3, H, W)."""
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise InvalidEvaluation(f"jpeg: expected images (N, 1 or 3, H, W), got {tuple(x.shape)}; leave it out")
        found: Tensor = self.bpda(x)
        return found

    def _recode(self, x: Tensor) -> Tensor:
        grey_levels = (x.clamp(0, 1) * 255).round().byte().movedim(1, -1).cpu().numpy()
        images = [self._again(image.squeeze(-1) if image.shape[-1] == 1 else image) for image in grey_levels]
        return torch.from_numpy(np.stack(images)).view(*grey_levels.shape).movedim(-1, 1).to(x.device, x.dtype) / 255

    def _again(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=self.quality)
        return np.array(Image.open(file))


class BitDepth(nn.Module):
    """Inputs in 0..1 rounded to 2**bits levels; the substitute is the identity.

    Xu, Evans & Qi 2018, arXiv 1704.01155, section III-A.

    Args:
        bits: From 1 to 8.

    Raises:
        ConfigurationError: If `bits` is out of range.
    """

    def __init__(self, bits: int = 4) -> None:
        super().__init__()
        bits = integer("bit depth", "bits", bits, 1, 8)
        self.bits = bits
        self.bpda = BPDA(self._round)

    def forward(self, x: Tensor) -> Tensor:
        """Returns inputs of the shape of `x` (N, ...)."""
        found: Tensor = self.bpda(x)
        return found

    def _round(self, x: Tensor) -> Tensor:
        steps = float(2**self.bits - 1)
        return (x * steps).round() / steps


class MedianBlur(nn.Module):
    """Each pixel replaced by the median of the square around it; the substitute is the mean of the same square.

    Xu, Evans & Qi 2018, arXiv 1704.01155, section III-B. Edges are mirrored.

    Args:
        size: Side of the square, odd, from 3.

    Raises:
        ConfigurationError: If `size` is even or too small.
    """

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        size = integer("median blur", "size", size, 3, 31)
        if size % 2 == 0:
            raise ConfigurationError(f"median blur: expected an odd size, got {size}; try {size + 1}")
        self.size = size
        self.bpda = BPDA(self._median, self._mean)

    def forward(self, x: Tensor) -> Tensor:
        """Returns images of the shape of `x` (N, C, H, W)."""
        if x.ndim != 4 or min(x.shape[2:]) <= self.size // 2:
            raise InvalidEvaluation(
                f"median blur: expected images (N, C, H, W) larger than {self.size // 2} pixels, got {tuple(x.shape)}"
            )
        found: Tensor = self.bpda(x)
        return found

    def _mirrored(self, x: Tensor) -> Tensor:
        mirrored: Tensor = pad(x, [self.size // 2] * 4, mode="reflect")
        return mirrored

    def _median(self, x: Tensor) -> Tensor:
        squares = self._mirrored(x).unfold(2, self.size, 1).unfold(3, self.size, 1)
        middle: Tensor = squares.flatten(4).median(dim=4).values
        return middle

    def _mean(self, x: Tensor) -> Tensor:
        mean: Tensor = avg_pool2d(self._mirrored(x), self.size, stride=1)
        return mean


PREPROCESSORS: dict[str, type[nn.Module]] = {"jpeg": JPEG, "bit-depth": BitDepth, "median-blur": MedianBlur}
