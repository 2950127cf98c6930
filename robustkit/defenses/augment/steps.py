"""The random changes that an augmentation can be made of, each around a transform of torchvision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor
from torchvision.transforms import v2

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.settings import between, integer

PadMode = Literal["constant", "edge", "reflect", "symmetric"]


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One random change; its fields are its settings, its work is done by torchvision on values in 0..1."""

    name: ClassVar[str]
    source: ClassVar[str] = "-"
    pairs: ClassVar[bool] = False  # mixes every sample, and its label, with another one of the batch
    any_shape: ClassVar[bool] = False  # takes more than images (N, C, H, W)
    coloured: ClassVar[bool] = False  # takes grey and RGB images only

    @property
    def who(self) -> str:
        """What messages call it."""
        return f"augment {self.name}"

    @abstractmethod
    def transform(self, size: tuple[int, int], classes: int) -> v2.Transform:
        """Returns the transform for images of this height and width in pixels, and this number of classes."""

    def accept(self, x: Tensor) -> None:
        """Raises ConfigurationError unless it can change inputs such as `x` (N, ...)."""
        if x.ndim != 4 and not self.any_shape:
            raise ConfigurationError(
                f"{self.who}: expected images (N, C, H, W), got shape {tuple(x.shape)}; leave it out"
            )
        if self.coloured and x.shape[1] not in (1, 3):
            raise ConfigurationError(f"{self.who}: expected 1 or 3 channels, got {x.shape[1]}; leave it out")


@dataclass(frozen=True, kw_only=True)
class Flip(Step):
    """Mirrors an image with probability `p`: left and right, or upside down if `vertical`."""

    p: float = 0.5
    vertical: bool = False

    name: ClassVar[str] = "flip"

    def __post_init__(self) -> None:
        between(self.who, "p", self.p, "[0, 1]")

    def transform(self, size: tuple[int, int], classes: int) -> v2.Transform:
        """Returns a flip."""
        return v2.RandomVerticalFlip(self.p) if self.vertical else v2.RandomHorizontalFlip(self.p)


@dataclass(frozen=True, kw_only=True)
class Crop(Step):
    """Pads an image by `padding` pixels on all sides (`mode` as torchvision's), then cuts its old size out anywhere."""

    padding: int = 4
    mode: PadMode = "constant"

    name: ClassVar[str] = "crop"

    def __post_init__(self) -> None:
        integer(self.who, "padding", self.padding)
        if self.mode not in (known := get_args(PadMode)):
            raise ConfigurationError(
                f"augment crop: expected a known mode, got {self.mode!r}{suggest(str(self.mode), known)}"
            )

    def transform(self, size: tuple[int, int], classes: int) -> v2.Transform:
        """Returns a crop."""
        least = {"reflect": self.padding + 1, "symmetric": self.padding}.get(self.mode, 1)
        if min(size) < least:
            raise ConfigurationError(
                f"augment crop: expected padding for images of {size[0]} x {size[1]} pixels, got {self.padding} with"
                f" mode {self.mode}; make it smaller"
            )
        return v2.RandomCrop(size, padding=self.padding, padding_mode=self.mode)


@dataclass(frozen=True, kw_only=True)
class RandAugment(Step):
    """Makes `ops` random changes of strength `magnitude` (0..30)."""

    ops: int = 2
    magnitude: int = 9

    name: ClassVar[str] = "randaugment"
    source: ClassVar[str] = "Cubuk et al. 2020, arXiv 1909.13719"
    coloured: ClassVar[bool] = True

    def __post_init__(self) -> None:
        integer(self.who, "ops", self.ops)
        integer(self.who, "magnitude", self.magnitude, 0, 30)

    def transform(self, size: tuple[int, int], classes: int) -> v2.Transform:
        """Returns RandAugment."""
        return v2.RandAugment(num_ops=self.ops, magnitude=self.magnitude)


@dataclass(frozen=True, kw_only=True)
class TrivialAugment(Step):
    """Makes one random change of random strength, from the wide set of the paper."""

    name: ClassVar[str] = "trivialaugment"
    source: ClassVar[str] = "Mueller & Hutter 2021, arXiv 2103.10158"
    coloured: ClassVar[bool] = True

    def transform(self, size: tuple[int, int], classes: int) -> v2.Transform:
        """Returns TrivialAugment."""
        return v2.TrivialAugmentWide()


@dataclass(frozen=True, kw_only=True)
class AugMix(Step):
    """Mixes `width` chains of 1 to 3 random changes of strength up to `severity` (1..10) with the image.

    The changes are those of the paper: none that is one of the usual corruption tests.
    """

    severity: int = 3
    width: int = 3

    name: ClassVar[str] = "augmix"
    source: ClassVar[str] = "Hendrycks et al. 2020, arXiv 1912.02781"
    coloured: ClassVar[bool] = True

    def __post_init__(self) -> None:
        integer(self.who, "severity", self.severity, 1, 10)
        integer(self.who, "width", self.width)

    def transform(self, size: tuple[int, int], classes: int) -> v2.Transform:
        """Returns AugMix."""
        return v2.AugMix(severity=self.severity, mixture_width=self.width, all_ops=False)


@dataclass(frozen=True, kw_only=True)
class Cutout(Step):
    """Paints a square of `size` pixels over, with `value` (0..1, between the bounds).

    Difference to the paper: the square lies wholly inside the image.
    """

    size: int = 8
    value: float = 0.5

    name: ClassVar[str] = "cutout"
    source: ClassVar[str] = "DeVries & Taylor 2017, arXiv 1708.04552"

    def __post_init__(self) -> None:
        integer(self.who, "size", self.size)
        between(self.who, "value", self.value, "[0, 1]")

    def transform(self, size: tuple[int, int], classes: int) -> v2.Transform:
        """Returns random erasing of squares of one size."""
        if min(size) <= self.size:
            raise ConfigurationError(
                f"augment cutout: expected a size below the {min(size)} pixels of the image, got {self.size};"
                " make it smaller"
            )
        share = self.size**2 / (size[0] * size[1])
        return v2.RandomErasing(p=1.0, scale=(share, share), ratio=(1.0, 1.0), value=float(self.value))


@dataclass(frozen=True, kw_only=True)
class Noise(Step):
    """Adds Gaussian noise of standard deviation `sigma`, as a share of the input range, and clips."""

    sigma: float = 0.1

    name: ClassVar[str] = "noise"
    any_shape: ClassVar[bool] = True

    def __post_init__(self) -> None:
        between(self.who, "sigma", self.sigma, "[0, inf]")

    def transform(self, size: tuple[int, int], classes: int) -> v2.Transform:
        """Returns the noise."""
        return v2.GaussianNoise(sigma=float(self.sigma))


@dataclass(frozen=True, kw_only=True)
class MixUp(Step):
    """Blends every sample and label with those of its neighbour in the batch, all in one ratio from Beta(alpha, alpha).

    Who is the neighbour depends on the batch, which is shuffled anew in every epoch.
    """

    alpha: float = 1.0

    name: ClassVar[str] = "mixup"
    source: ClassVar[str] = "Zhang et al. 2018, arXiv 1710.09412"
    pairs: ClassVar[bool] = True
    any_shape: ClassVar[bool] = True

    def __post_init__(self) -> None:
        between(self.who, "alpha", self.alpha, "[0.001, inf]")

    def transform(self, size: tuple[int, int], classes: int) -> v2.Transform:
        """Returns mixup."""
        return v2.MixUp(alpha=float(self.alpha), num_classes=classes)


@dataclass(frozen=True, kw_only=True)
class CutMix(MixUp):
    """Pastes a box of its neighbour in the batch into every image; labels are blended by area, Beta(alpha, alpha)."""

    name: ClassVar[str] = "cutmix"
    source: ClassVar[str] = "Yun et al. 2019, arXiv 1905.04899"
    any_shape: ClassVar[bool] = False

    def transform(self, size: tuple[int, int], classes: int) -> v2.Transform:
        """Returns cutmix."""
        return v2.CutMix(alpha=float(self.alpha), num_classes=classes)


STEPS: dict[str, type[Step]] = {
    kind.name: kind
    for kind in (Flip, Crop, RandAugment, TrivialAugment, AugMix, Cutout, Noise, MixUp, CutMix)
}  # fmt: skip
