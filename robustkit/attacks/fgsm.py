"""The fast gradient sign method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from robustkit.attacks.base import Attack
from robustkit.attacks.rows import Problem, Rows
from robustkit.base.errors import ConfigurationError
from robustkit.maths.losses import Loss, get_loss


@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """One step of length `eps` from the clean input along the steepest ascent of the loss.

    Goodfellow et al. 2015, arXiv 1412.6572, equation in section 4, for Linf; the L2 step goes along the normalised
    gradient, the L1 step along the single coordinate that gains most and is not held back by the input range.
    It makes no random choice, so `restarts` has no effect beyond repetition and must stay 1.

    Attributes:
        loss: "ce", "margin" or "dlr", or a function as in `robustkit.maths.losses`.
    """

    loss: str | Loss = "ce"

    name: ClassVar[str] = "fgsm"
    source: ClassVar[str] = "Goodfellow et al. 2015, arXiv 1412.6572"
    per_coordinate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restarts != 1:
            raise ConfigurationError(f"fgsm: expected restarts 1, got {self.restarts}; it makes no random choice")
        self.accept_loss()

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes the one point of the method."""
        found = problem.gradient(rows, rows.x, get_loss(self.loss, problem.targeted))
        radius = problem.threat.radius
        x_adv = rows.x + radius * problem.steepest(rows, rows.x, found.grad, radius, share=0.0)
        return rows.having(x_adv=problem.threat.project(x_adv, rows.x, rows.lower, rows.upper))
