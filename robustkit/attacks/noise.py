"""Uniform noise: the control that every other attack has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from robustkit.attacks.base import Attack
from robustkit.attacks.rows import Problem, Rows


@dataclass(frozen=True, kw_only=True)
class Noise(Attack):
    """Points drawn uniformly from the ball around the input, projected onto the input range, `restarts` times.

    Where noise breaks as much as a gradient attack, the gradients are masked (Carlini et al. 2019,
    arXiv 1902.06705, section 5.4).
    """

    restarts: int = 10

    name: ClassVar[str] = "noise"
    kind: ClassVar[str] = "control"
    source: ClassVar[str] = "Carlini et al. 2019, arXiv 1902.06705, section 5.4"
    per_coordinate: ClassVar[bool] = True

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes a random point."""
        x_adv = problem.threat.random(rows.x, problem.stream, rows.ids, rows.restart, rows.step)
        return rows.having(x_adv=problem.threat.project(x_adv, rows.x, rows.lower, rows.upper))
