"""What one attack cost in an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from robustkit.attacks.base import Attack
from robustkit.maths.exact_sums import ExactSums


@dataclass
class AttackRun:
    """What one attack cost, the fresh pass over its results included, and what that pass did not confirm.

    `path` holds the sums over `rows` samples of which `loss_path` gives the means.
    """

    attack: Attack
    label: str
    forwards: int = 0
    backwards: int = 0
    zero_gradients: int = 0
    nonfinite_gradients: int = 0
    seconds: float = 0.0
    rechecked_changes: int = 0
    loss_path: tuple[float, ...] = ()
    path: ExactSums | None = None
    rows: int = 0
