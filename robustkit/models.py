"""Small classifiers by name, for demonstrations, baselines and tests; all return logits (N, num_classes)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustkit.errors import ConfigurationError, suggest

Shape = tuple[int, ...]


def create(name: str, input_shape: Shape, num_classes: int, seed: int = 0) -> nn.Module:
    """Returns a freshly initialised model on the CPU; the global random state is left as it was.

    Args:
        name: A key of `SMALL_MODELS`.
        input_shape: Shape of one sample, without the batch axis.
        num_classes: Number of logits, at least 2.
        seed: Decides the initial weights.

    Raises:
        ConfigurationError: If the name is unknown, or the model cannot take such inputs or classes.
    """
    if name not in SMALL_MODELS:
        raise ConfigurationError(f"model: expected a known name, got '{name}'{suggest(name, SMALL_MODELS)}")
    if num_classes < 2:
        raise ConfigurationError(f"model '{name}': expected 2 or more classes, got {num_classes}")
    shape = tuple(input_shape)
    if not shape or min(shape) < 1:
        raise ConfigurationError(f"model '{name}': expected the shape of one sample, got {shape}")
    with initial_weights(seed):
        return SMALL_MODELS[name](shape, num_classes)


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


def _image_channels(name: str, input_shape: Shape, smallest: int) -> int:
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise ConfigurationError(
            f"model '{name}': expected images (C, H, W) of at least {smallest}x{smallest}, got shape"
            f" {input_shape}; use 'mlp'"
        )
    return input_shape[0]


SMALL_MODELS: dict[str, Callable[[Shape, int], nn.Module]] = {f.__name__: f for f in (mlp, cnn, lenet, lstm)}
