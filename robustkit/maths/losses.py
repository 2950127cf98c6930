"""Losses an attack climbs, in closed form on the logits.

Each function takes logits `z` (float64, shape (N, K)) and labels `y` (N,) and returns the loss of every row (N,),
larger being worse for the defender, and its gradient with respect to `z` (N, K) *up to a positive factor per row*.
Attacks use the direction only; choosing the factor so that the largest entry is about one means that a confident
model cannot hide its gradient behind a saturated softmax (users of the peers lose it at 1 - p_y < 1e-8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError, suggest

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def one_hot(y: Tensor, z: Tensor) -> Tensor:
    """Returns the one-hot rows of `y` in the shape and dtype of `z`."""
    return torch.zeros_like(z).scatter_(1, y.unsqueeze(1), 1)


def lead(z: Tensor, y: Tensor) -> Tensor:
    """Returns by how much the best class other than `y` leads it, max_{k != y} z_k - z_y, shape (N,)."""
    of = y.unsqueeze(1)
    return z.scatter(1, of, -torch.inf).amax(dim=1) - z.gather(1, of).squeeze(1)


def margin(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the margin loss max_{k != y} z_k - z_y (Carlini & Wagner 2017, arXiv 1608.04644, f_6 without floor)."""
    other = z.scatter(1, y.unsqueeze(1), -torch.inf).argmax(dim=1)
    return margin_towards(z, y, other)


def cross_entropy(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns -log softmax(z)_y.

    Its gradient is softmax(z) - e_y = (1 - p_y) (softmax over the wrong classes - e_y); we leave out 1 - p_y. Where `y`
    holds rows of probabilities (N, K), it is `divergence`, which differs from cross entropy by a constant per row.
    """
    if y.ndim == 2:
        return divergence(z, y)
    of = y.unsqueeze(1)
    value = -z.log_softmax(dim=1).gather(1, of).squeeze(1)
    return value, z.scatter(1, of, -torch.inf).softmax(dim=1).scatter_(1, of, -1)


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


def margin_towards(z: Tensor, y: Tensor, aim: Tensor) -> tuple[Tensor, Tensor]:
    """Returns z_aim - z_y, the margin loss with its competitor fixed."""
    pair = z.gather(1, torch.stack([aim, y], dim=1))
    return pair[:, 0] - pair[:, 1], one_hot(aim, z) - one_hot(y, z)


def dlr_towards(z: Tensor, y: Tensor, aim: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the targeted DLR loss -(z_y - z_aim) / (z_(1) - (z_(3) + z_(4)) / 2), for at least four classes.

    Croce & Hein 2020, arXiv 2003.01690, equation 7.
    """
    gap, direction = margin_towards(z, y, aim)
    top = z.topk(4, dim=1)
    spread = top.values[:, 0] - top.values[:, 2:].mean(dim=1) + 1e-12
    value = gap / spread
    low = one_hot(top.indices[:, 2], z) + one_hot(top.indices[:, 3], z)
    return value, direction - value.unsqueeze(1) * (one_hot(top.indices[:, 0], z) - low / 2)


def mean_logits(draws: Sequence[Tensor]) -> Tensor:
    """Returns the logits of the mean probabilities of several draws of a random model; one draw stays as it is."""
    if len(draws) == 1:
        return draws[0]
    shares = torch.stack([z.double().log_softmax(dim=1) for z in draws])
    return (shares.logsumexp(dim=0) - math.log(len(draws))).to(draws[0].dtype)


def runner_up_classes(z: Tensor, y: Tensor) -> Tensor:
    """Returns the classes other than `y` in falling order of their logits, shape (N, K - 1)."""
    return z.scatter(1, y.unsqueeze(1), -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :-1]


def divergence(z: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    """Returns KL(goal || softmax(z)), the loss of the inner attack of TRADES (Zhang et al. 2019, arXiv 1901.08573).

    Its gradient is softmax(z) - goal. Where `goal` holds labels (N,), this is cross entropy.
    """
    goal = (one_hot(goal, z) if goal.ndim == 1 else goal).to(z.dtype)
    logs = z.log_softmax(dim=1)
    value = (torch.xlogy(goal, goal) - goal * logs).sum(dim=1)
    direction = logs.exp() - goal
    return value, direction / direction.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(z.dtype).tiny)


@dataclass(frozen=True)
class OwnLoss:
    """A loss of one's own: a function like those above, known in texts by its address.

    Raises:
        ConfigurationError: Called, if the function returns anything but the losses and a direction for every row.
    """

    function: Loss

    @property
    def name(self) -> str:
        """The name of the function."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the function returns."""
        found: Any = self.function(z, y)
        shapes = [getattr(part, "shape", None) for part in found] if isinstance(found, tuple) else []
        if shapes != [z.shape[:1], z.shape]:
            raise ConfigurationError(
                f"loss {self}: expected the loss of every row and its gradient with respect to the logits, of shapes"
                f" {tuple(z.shape[:1])} and {tuple(z.shape)}, got {type(found).__name__}"
                f"{f' of {shapes}' if shapes else ''}; return both"
            )
        value, direction = found
        return value, direction

    def __repr__(self) -> str:
        named = self.function if hasattr(self.function, "__qualname__") else type(self.function)
        return f"{named.__module__}:{named.__qualname__}"


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def known_loss(loss: str | Loss) -> str | OwnLoss:
    """Returns `loss` if it is the name of one, or a function under its address.

    Beside `LOSSES` there is "kl", `divergence`, for training.

    Raises:
        ConfigurationError: If no loss has that name.
    """
    if callable(loss):
        return loss if isinstance(loss, OwnLoss) else OwnLoss(loss)
    if not isinstance(loss, str) or (loss not in LOSSES and loss != "kl"):
        known = ", ".join(LOSSES)
        raise ConfigurationError(f"loss: expected one of {known}, got {loss!r}{suggest(str(loss), LOSSES)}")
    return loss


def get_loss(name: str | Loss, targeted: bool = False) -> Loss:
    """Returns the loss called `name`; targeted, the labels are goals and the loss is the negative one.

    Raises:
        ConfigurationError: If no loss has that name.
    """
    known = known_loss(name)
    loss: Loss = LOSSES.get(known, divergence) if isinstance(known, str) else known
    if not targeted:
        return loss

    def towards(z: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        value, direction = loss(z, goal)
        return -value, -direction

    return towards
