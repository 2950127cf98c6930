"""Losses an attack climbs, in closed form on the logits.

Each function takes logits `z` (float64, shape (N, K)) and labels `y` (N,) and returns the loss of every row (N,),
larger being worse for the defender, and its gradient with respect to `z` (N, K) *up to a positive factor per row*.
Attacks use the direction only; choosing the factor so that the largest entry is about one means that a confident
model cannot hide its gradient behind a saturated softmax (users of the peers lose it at 1 - p_y < 1e-8).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustkit.errors import ConfigurationError, suggest

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def one_hot(y: Tensor, z: Tensor) -> Tensor:
    """Returns the one-hot rows of `y` in the shape and dtype of `z`."""
    return torch.zeros_like(z).scatter_(1, y.unsqueeze(1), 1)


def runner_up(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the largest logit among the classes other than `y`, and its class."""
    others = z.scatter(1, y.unsqueeze(1), -torch.inf).max(dim=1)
    return others.values, others.indices


def margin(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the margin loss max_{k != y} z_k - z_y (Carlini & Wagner 2017, arXiv 1608.04644, f_6 without floor)."""
    best, other = runner_up(z, y)
    return best - z.gather(1, y.unsqueeze(1)).squeeze(1), one_hot(other, z) - one_hot(y, z)


def cross_entropy(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns -log softmax(z)_y.

    Its gradient is softmax(z) - e_y = (1 - p_y) (softmax over the wrong classes - e_y); we leave out 1 - p_y.
    """
    value = torch.logsumexp(z, dim=1) - z.gather(1, y.unsqueeze(1)).squeeze(1)
    wrong = z.scatter(1, y.unsqueeze(1), -torch.inf).softmax(dim=1)
    return value, wrong - one_hot(y, z)


def dlr(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the difference-of-logits ratio -(z_y - max_{k != y} z_k) / (z_(1) - z_(3)).

    Croce & Hein 2020, arXiv 2003.01690, equation 6.

    Raises:
        ConfigurationError: With fewer than three classes, where z_(3) does not exist.
    """
    if z.shape[1] < 3:
        raise ConfigurationError(
            f"loss 'dlr': expected at least 3 classes, got {z.shape[1]}; use loss='margin', which needs only 2"
        )
    gap, direction = margin(z, y)
    top = z.topk(3, dim=1)
    spread = top.values[:, 0] - top.values[:, 2] + 1e-12
    value = gap / spread
    change = one_hot(top.indices[:, 0], z) - one_hot(top.indices[:, 2], z)
    return value, direction - value.unsqueeze(1) * change


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def get_loss(name: str, targeted: bool = False) -> Loss:
    """Returns the loss called `name`; targeted, the labels are goals and the loss is the negative one.

    Raises:
        ConfigurationError: If no loss has that name.
    """
    if name not in LOSSES:
        raise ConfigurationError(f"loss: expected one of {', '.join(LOSSES)}, got {name!r}{suggest(name, LOSSES)}")
    loss = LOSSES[name]
    if not targeted:
        return loss

    def towards(z: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        value, direction = loss(z, goal)
        return -value, -direction

    return towards
