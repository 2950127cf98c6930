"""Linear models, and the exact distance of points to their boundaries, with and without the box, in every norm."""

from __future__ import annotations

import numpy as np
import torch
from nets import generator, linear
from numpy.typing import NDArray
from torch import Tensor

from robustkit.model.classifier import Classifier

Array = NDArray[np.float64]
ORDER = {"Linf": np.inf, "L2": 2, "L1": 1}


def distance(weight: Array, gap: Array, room: Array, norm: str) -> Array:
    """Returns for every row the least size of a delta with weight @ delta >= gap and |delta_i| <= room_i.

    The best delta of multiplier t moves coordinate i by min(t, room_i) in Linf and min(t |weight_i|, room_i) in L2;
    in L1 it fills the steepest coordinates first. Where no delta reaches the gap, the distance is infinite.

    Args:
        weight: Shape (n, d).
        gap: Shape (n,), > 0.
        room: Shape (n, d): how far each coordinate can go in the direction of its weight.
        norm: "Linf", "L2" or "L1".
    """
    steep = np.abs(weight)
    reachable = (steep * room).sum(1) >= gap
    if norm == "L1":
        order = np.argsort(-steep, axis=1)
        steep, room = (np.take_along_axis(a, order, 1) for a in (steep, room))
        before = np.cumsum(steep * room, 1) - steep * room
        delta = np.clip((gap[:, None] - before) / steep, 0, room)
        return np.where(reachable, delta.sum(1), np.inf)

    def at(t: Array) -> Array:
        return np.minimum(t[:, None] * (steep if norm == "L2" else 1), room)

    low, high = np.zeros(len(gap)), np.full(len(gap), 1e6)
    for _ in range(100):
        middle = (low + high) / 2
        short = (steep * at(middle)).sum(1) < gap
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.where(reachable, np.linalg.norm(at(high), ORDER[norm], axis=1), np.inf)


def linear_problem(
    classes: int, bounds: tuple[float, float], norm: str, n: int = 48
) -> tuple[Classifier, Tensor, Tensor, Tensor]:
    """Returns a random linear classifier, inputs in 0..1, labels, and exact distances (infinite out of reach).

    With bounds 0..1 a tenth of the coordinates are exactly 0 and a tenth exactly 1.
    """
    weight = torch.randn(classes, 30, generator=generator(classes), dtype=torch.float64)
    x = torch.rand(n, 30, generator=generator(1), dtype=torch.float64)
    if bounds == (0, 1):
        x = (x * 1.25 - 0.125).clamp(0, 1)
    net = linear(weight)
    z = net(x).detach()
    y = z.argmax(1)
    exact = np.full(n, np.inf)
    for k in range(1, classes):
        other = (y + k) % classes
        slope = weight[other] - weight[y]
        room = torch.where(slope > 0, bounds[1] - x, x - bounds[0])
        gap = (z.gather(1, y[:, None]) - z.gather(1, other[:, None]))[:, 0]
        exact = np.minimum(exact, distance(slope.numpy(), gap.numpy(), room.numpy(), norm))
    classifier = Classifier(net, bounds=bounds, output="logits", num_classes=classes)
    return classifier, x, y, torch.from_numpy(exact)
