"""Small networks that more than one test file attacks."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robustkit.data.dataset import batches
from robustkit.loading.data import load_data
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    """Returns the linear model on the flattened input with the given weight (K, d) and bias (K,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
    return nn.Sequential(nn.Flatten(), layer)


def uneven(n: int) -> tuple[Classifier, Tensor, Tensor, Tensor, Tensor]:
    """Returns a linear model, inputs and labels it gets right, radii and upper ends, these two one per coordinate."""
    eps = torch.tensor([0.1, 0.2, 0.3, 0.0, 0.0, 0.4], dtype=torch.float64)
    high = torch.tensor([1.0, 1.0, 2.0, 2.0, 4.0, 4.0])
    x, weight = high * torch.rand(n, 6, generator=generator(1)), torch.randn(3, 6, generator=generator(0))
    classifier = Classifier(linear(weight, -weight @ high / 2), bounds=(torch.zeros(6), high))
    return classifier, x, classifier.logits(x).argmax(1), eps, high


def smooth_cnn(classes: int = 4, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    """Returns an untrained CNN with BatchNorm and a smooth activation for images (1, 6, 6), in train mode.

    Its classes are about equally frequent on `images` and close enough for small perturbations to matter.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = nn.Sequential(
            *(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Softplus(), nn.Conv2d(6, 6, 3), nn.Softplus(), nn.Flatten()),
            nn.Linear(24, classes),
        )
    nn.init.normal_(net[1].running_mean, generator=generator(seed + 1))
    net = net.double().eval()
    with torch.no_grad():
        logits = net(images(200, seed=1))
        net[6].bias -= logits.mean(0)
        net[6].weight /= logits.std(0).unsqueeze(1)
        net[6].bias /= logits.std(0)
    return net.train().to(dtype)


def images(n: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Returns images (n, 1, 6, 6) in 0..1, a tenth of whose pixels are exactly 0 and a tenth exactly 1."""
    return (torch.rand(n, 1, 6, 6, generator=generator(seed), dtype=dtype) * 1.25 - 0.125).clamp(0, 1)


def labels(n: int, classes: int = 4, seed: int = 0) -> Tensor:
    return torch.randint(classes, (n,), generator=generator(seed + 99))


@functools.cache
def digits_cnn() -> nn.Module:
    """Returns a BatchNorm CNN trained on the 8x8 digits for a few epochs."""
    net = create("cnn", (1, 8, 8), 10)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(4):
        for batch in batches(load_data("digits", split="train"), 64):
            optimizer.zero_grad()
            cross_entropy(net(batch.x), batch.y).backward()
            optimizer.step()
    return net.eval().requires_grad_(False)


@functools.cache
def digits(n: int = 300) -> tuple[Tensor, Tensor]:
    """Returns the first `n` test digits."""
    batch = next(iter(batches(load_data("digits", split="test"), n)))
    return batch.x, batch.y


def robust_accuracy(attack, model, x: Tensor, y: Tensor, **arguments) -> float:
    """Returns the share of rows that are right before and after the attack."""
    classifier = model if isinstance(model, Classifier) else Classifier(model)
    with classifier.frozen(), torch.no_grad():
        right = (classifier.logits(classifier.accept(x)).argmax(1) == y.to(classifier.device)).cpu()
    return float((right & ~attack(classifier, x, y, **arguments).success.cpu()).double().mean())


def write_digits(folder: Path, n: int) -> None:
    """Writes `n` digits as bytes to digits.npz and the weights of `digits_cnn` to cnn.safetensors."""
    x, y = digits(n)
    np.savez(folder / "digits.npz", images=(x * 255).round().byte().numpy(), labels=y.numpy())
    save_file(digits_cnn().state_dict(), folder / "cnn.safetensors")
