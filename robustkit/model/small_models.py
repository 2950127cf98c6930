"""Small classifiers by name, for demonstrations, baselines and tests; all return logits (N, num_classes)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.settings import integer, read, split

Shape = tuple[int, ...]


def create(name: str, input_shape: Shape, num_classes: int, seed: int = 0) -> nn.Module:
    """Returns a freshly initialised model on the CPU; the global random state is left as it was.

    Args:
        name: A key of `SMALL_MODELS`, with settings after a colon where it has some, such as
            "wideresnet:depth=16,width=2".
        input_shape: Shape of one sample, without the batch axis.
        num_classes: Number of logits, at least 2.
        seed: Decides the initial weights.

    Raises:
        ConfigurationError: If the name is unknown, or the model cannot take such inputs or classes.
    """
    kind, items = split(name)
    if kind not in SMALL_MODELS:
        raise ConfigurationError(f"model: expected a known name, got '{name}'{suggest(kind, SMALL_MODELS)}")
    settings = read(f"model '{kind}'", items, [*inspect.signature(SMALL_MODELS[kind]).parameters][2:])
    for setting, value in settings.items():
        integer(f"model '{kind}'", setting, value)
    if num_classes < 2:
        raise ConfigurationError(f"model '{name}': expected 2 or more classes, got {num_classes}; correct it")
    shape = tuple(input_shape)
    if not shape or min(shape) < 1:
        raise ConfigurationError(f"model '{name}': expected the shape of one sample, got {shape}; such as (3, 32, 32)")
    with initial_weights(seed):
        return SMALL_MODELS[kind](shape, num_classes, **settings)


def is_small(name: str) -> bool:
    """Returns whether `create` knows the name; "cnn:factory" is a function in a module called cnn."""
    return split(name)[0] in SMALL_MODELS


def fits(name: str, input_shape: Shape) -> bool:
    """Returns whether a model of this name can be made for such inputs."""
    try:
        return bool(create(name, input_shape, num_classes=2))
    except ConfigurationError:
        return False


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Context in which modules are built on the CPU with weights decided by `seed`.

    Afterwards the global random state is as it was.
    """
    # Not torch.manual_seed: it would also reseed every GPU, and fork_rng(devices=[]) does not restore those.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        yield


def mlp(input_shape: Shape, num_classes: int) -> nn.Module:
    """Returns two hidden layers of 256 ReLU units on the flattened input, of any shape.

    Source: Rumelhart, Hinton & Williams 1986, doi:10.1038/323533a0; ReLU of Glorot et al. 2011 (AISTATS).
    """
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(math.prod(input_shape), 256), nn.ReLU()),
        *(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, num_classes)),
    )


def cnn(input_shape: Shape, num_classes: int) -> nn.Module:
    """Returns three 3x3 convolutions (32, 64, 128) with batch normalisation for images from 8x8 up.

    A 2x2 max-pooling follows each of the first two; the mean over all positions feeds one linear layer, so
    the number of weights does not depend on the image size.

    Source: the design of Simonyan & Zisserman 2014, arXiv:1409.1556, with batch normalisation (Ioffe &
    Szegedy 2015, arXiv:1502.03167) and global average pooling (Lin et al. 2013, arXiv:1312.4400, sec. 3.2).
    """
    channels = _image_channels("cnn", input_shape, smallest=8)

    def stage(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()

    return nn.Sequential(
        *(*stage(channels, 32), nn.MaxPool2d(2), *stage(32, 64), nn.MaxPool2d(2), *stage(64, 128)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, num_classes)),
    )


def lenet(input_shape: Shape, num_classes: int) -> nn.Module:
    """Returns the network of PyTorch's "Training a Classifier" tutorial (CIFAR-10), for images from 16x16 up.

    Two 5x5 convolutions of 6 and 16 channels, each with ReLU and 2x2 max-pooling, then layers of 120 and 84.

    Source: pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html, after LeNet-5 (LeCun et al. 1998,
    doi:10.1109/5.726791, section II-B).
    """
    channels = _image_channels("lenet", input_shape, smallest=16)
    height, width = (((side - 4) // 2 - 4) // 2 for side in input_shape[1:])
    return nn.Sequential(
        *(nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(16 * height * width, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, num_classes),
    )


def strided(input_shape: Shape, num_classes: int, width: int = 16) -> nn.Module:
    """Returns two 4x4 convolutions of stride 2 with `width` and 2 `width` channels, then a layer of 100.

    Small enough for adversarial training of MNIST on a CPU.

    Source: the MNIST network of Wong & Kolter 2018, arXiv:1711.00851, section 4, also used by Wong et al. 2020,
    arXiv:2001.03994.
    """
    channels = _image_channels("strided", input_shape, smallest=8)
    height, width_left = ((side // 2) // 2 for side in input_shape[1:])
    return nn.Sequential(
        *(nn.Conv2d(channels, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(2 * width * height * width_left, 100), nn.ReLU(), nn.Linear(100, num_classes)),
    )


class SequenceClassifier(nn.Module):
    """An LSTM over (N, T, F) whose last hidden state feeds one linear layer; see `lstm`."""

    def __init__(self, features: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True)
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (N, num_classes) for sequences x (N, T, F)."""
        _, (last_hidden, _) = self.lstm(x)
        logits: Tensor = self.head(last_hidden[-1])
        return logits


def lstm(input_shape: Shape, num_classes: int) -> nn.Module:
    """Returns a one-layer LSTM of 64 units for sequences (T, F) of T steps with F features.

    Source: Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735.
    """
    if len(input_shape) != 2:
        raise ConfigurationError(f"model 'lstm': expected inputs (T, F), got shape {input_shape}; use 'mlp'")
    return SequenceClassifier(input_shape[1], 64, num_classes)


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each after batch normalisation and ReLU, added to their input; see `PreActNet`."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        fits = stride == 1 and inputs == outputs
        self.shortcut = None if fits else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the block's output; the shortcut begins after the first activation where it has weights."""
        active = torch.relu(self.norm1(x))
        straight = x if self.shortcut is None else self.shortcut(active)
        out: Tensor = self.conv2(torch.relu(self.norm2(self.conv1(active))))
        return out + straight


class PreActNet(nn.Sequential):
    """A residual network with pre-activation (He et al. 2016, arXiv:1603.05027, figure 4e) for images.

    Args:
        channels: Of the input.
        stem: Channels of the first convolution.
        widths: Channels of each stage; every stage but the first halves the image.
        blocks: Blocks per stage.
        num_classes: Number of logits.
    """

    def __init__(self, channels: int, stem: int, widths: tuple[int, ...], blocks: int, num_classes: int) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, stem, 3, 1, 1, bias=False)]
        inputs = stem
        for stage, width in enumerate(widths):
            for block in range(blocks):
                layers.append(PreActBlock(inputs, width, 2 if stage and not block else 1))
                inputs = width
        layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers, nn.Linear(inputs, num_classes))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def preact_resnet18(input_shape: Shape, num_classes: int) -> nn.Module:
    """Returns the 18-layer pre-activation ResNet with a 3x3 stem, usual for CIFAR (11.2 million weights).

    Source: He et al. 2016, arXiv:1603.05027; the stem and the stages 64, 128, 256, 512 are those of Rice et al. 2020,
    arXiv:2002.11569.
    """
    channels = _image_channels("preact_resnet18", input_shape, smallest=8)
    return PreActNet(channels, 64, (64, 128, 256, 512), 2, num_classes)


def wideresnet(input_shape: Shape, num_classes: int, depth: int = 28, width: int = 10) -> nn.Module:
    """Returns the wide residual network WRN-depth-width; depth is 6 n + 4.

    Source: Zagoruyko & Komodakis 2016, arXiv:1605.07146, table 1, without dropout.
    """
    channels = _image_channels("wideresnet", input_shape, smallest=8)
    if depth < 10 or (depth - 4) % 6 or width < 1:
        raise ConfigurationError(
            f"model 'wideresnet': expected a depth of 10, 16, 22, 28, ... and a width from 1, got {depth} and {width}"
        )
    return PreActNet(channels, 16, (16 * width, 32 * width, 64 * width), (depth - 4) // 6, num_classes)


def vit(input_shape: Shape, num_classes: int, layers: int = 4, width: int = 96) -> nn.Module:
    """Returns a small vision transformer for square images, with about 7 x 7 patches (torchvision's module).

    Source: Dosovitskiy et al. 2020, arXiv:2010.11929.
    """
    channels, side = _image_channels("vit", input_shape, smallest=8), input_shape[1]
    if input_shape[1] != input_shape[2] or width % 4 or min(layers, width) < 1:
        raise ConfigurationError(
            f"model 'vit': expected square images, layers from 1 and a width divisible by 4, got shape {input_shape},"
            f" {layers} and {width}; use 'cnn'"
        )
    patch = max(size for size in range(1, max(side // 7, 1) + 1) if side % size == 0)
    net: nn.Module = VisionTransformer(side, patch, layers, 4, width, 2 * width, num_classes=num_classes)
    net.conv_proj = nn.Conv2d(channels, width, patch, patch)
    # torchvision begins with a head of zeros, through which no gradient reaches the input.
    nn.init.normal_(net.get_parameter("heads.head.weight"), std=0.02)
    return net


def _image_channels(name: str, input_shape: Shape, smallest: int) -> int:
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise ConfigurationError(
            f"model '{name}': expected images (C, H, W) of at least {smallest}x{smallest}, got shape"
            f" {input_shape}; use 'mlp'"
        )
    return input_shape[0]


SMALL_MODELS: dict[str, Callable[..., nn.Module]] = {
    f.__name__: f for f in (mlp, cnn, lenet, strided, lstm, preact_resnet18, wideresnet, vit)
}
