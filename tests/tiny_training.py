"""A tiny network, a tiny data set and short runs for the tests of training."""

from __future__ import annotations

import torch
from nets import images, labels, smooth_cnn
from torch import nn

TINY = {"batch_size": 8, "val_steps": 2, "lr": 0.02, "guard_every": 3}


def data(n=30):
    return images(n, torch.float32), labels(n)


def net():
    return nn.Sequential(*smooth_cnn(dtype=torch.float32)[:-1], nn.Dropout(0.3), nn.Linear(24, 4)).train()


def same(first, second):
    return first.keys() == second.keys() and all(first[name].equal(second[name]) for name in first)
