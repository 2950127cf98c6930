"""Transfer: adversarial inputs made on another model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from robustkit.attacks.all_steps import craft
from robustkit.attacks.base import Attack
from robustkit.attacks.pgd import PGD
from robustkit.attacks.rows import Problem, Rows
from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import Scalar, instance
from robustkit.model.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Transfer(Attack):
    """Points crafted on a surrogate with full access to it, judged on the target, which is asked once a point.

    Papernot et al. 2016, arXiv 1605.07277. It needs no gradient of the target: where it breaks what a gradient attack
    left unbroken, the gradients of the target are masked.

    Attributes:
        surrogate: The model to craft on; same inputs, classes and bounds as the target.
        attack: What crafts; by default PGD with 20 steps on the margin. Its norm and eps must be those given here. It
            makes all its steps, since a point just beyond the boundary of the surrogate rarely transfers.
    """

    surrogate: Classifier | None = None
    attack: Attack | None = None

    name: ClassVar[str] = "transfer"
    kind: ClassVar[str] = "transfer"
    source: ClassVar[str] = "Papernot et al. 2016, arXiv 1605.07277"
    per_coordinate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.surrogate is None:
            raise ConfigurationError(
                "transfer: expected a surrogate model to craft on, got none; in Python Transfer(surrogate=...), on the "
                "command line --surrogate"
            )
        instance(self.name, "surrogate", self.surrogate, Classifier)
        if self.attack is not None:
            instance(self.name, "attack", self.attack, Attack)
        maker = self.maker
        if (maker.norm, maker.eps) != (self.norm, self.eps):
            raise ConfigurationError(
                f"transfer: expected an attack within {self.norm} {self.eps}, got {maker.norm} {maker.eps}"
            )

    @property
    def maker(self) -> Attack:
        """The attack that crafts."""
        return self.attack or PGD(norm=self.norm, eps=self.eps, steps=20, loss="margin")

    def settings(self) -> dict[str, Scalar]:
        """Returns our fields, the architecture of the surrogate and the settings of the attack on it."""
        assert self.surrogate is not None
        crafted = {f"attack.{name}": value for name, value in self.maker.settings().items()}
        names = {"surrogate": type(self.surrogate.model).__name__, "attack": self.maker.label}
        return {**super().settings(), **names, **crafted}

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Crafts on the surrogate and proposes the result."""
        assert self.surrogate is not None
        x = problem.inputs(rows).to(self.surrogate.device, self.surrogate.dtype)
        with self.surrogate.frozen():
            x_adv = craft(
                self.maker, self.surrogate, x, rows.goal, rows.ids, problem.stream.seed, targeted=problem.targeted
            )
        x_adv = problem.x_adv_of(rows, x_adv.to(rows.x.device, rows.x.dtype))
        return rows.having(x_adv=problem.threat.project(x_adv, rows.x, rows.lower, rows.upper))
