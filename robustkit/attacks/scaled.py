"""The border between inputs and the coordinates in which a threat per coordinate is an ordinary ball.

A ball with one eps_i per coordinate, ||delta_i / eps_i|| <= 1, is the plain ball once every coordinate is divided by
its eps_i. So the change is scaled once, on the way from the inputs to an attack and back, and no attack has to know:
it works on u, the scaled change, from a clean point at 0, in a ball of the largest eps and a box of its own for every
row. Fixed coordinates have a box without width. What the model sees and what is measured is the input itself, and a
zero in u is the clean value bit for bit; whether a point is inside is decided there too, by `Threat.contains`.

Of a table u stands for a relaxed record, in which numbers need not be whole and a category is a mixture. Gradients are
taken there; what counts is the legal record next to it, which `Threat.snap` finds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustkit.attacks.threat import EVERYWHERE, Threat
from robustkit.base.errors import InvalidEvaluation
from robustkit.data import records
from robustkit.maths.projection import cube, project_l2_in_box, shift


class Ball(Threat):
    """The ball in scaled coordinates, whose box differs from row to row and is therefore no part of it."""

    def project(self, x_adv: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Returns the point of ball and box nearest to `x_adv`, in L2 too, where `Threat` gives one that is shorter.

        With one eps per coordinate boxes are narrow and wide side by side, and what one coordinate cannot use of the
        radius has to go to the others.
        """
        if self.norm != "L2" or math.isinf(self.radius):
            return super().project(x_adv, x, lower, upper)
        centre = x.double()
        delta, low, high = (edge.double() - centre for edge in (x_adv, lower, upper))
        return shift(x, project_l2_in_box(delta, self.radius, low, high)).clamp(lower, upper)


@dataclass(frozen=True)
class Scaled:
    """The scaled change `u` of inputs `x`, both (N, ...), under a threat per coordinate.

    Attributes:
        threat: What may be changed, in the units of the inputs.
    """

    threat: Threat

    @property
    def ball(self) -> Ball:
        """What may be changed in u, but for the box."""
        own = self.threat
        return Ball(norm=own.norm, eps=own.radius, bounds=EVERYWHERE, target=own.target)

    def box(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the least and largest u that the input range allows, whatever eps is; both 0 where x is fixed."""
        low, high = (torch.as_tensor(end, dtype=x.dtype, device=x.device) for end in self.threat.room(x))
        return self.of(low.expand_as(x), x), self.of(high.expand_as(x), x)

    def limits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the least and largest u that a coordinate may reach, as `Threat.limits` does for inputs.

        Raises:
            InvalidEvaluation: If a schema says what records are legal, and `x` has others.
        """
        schema = self.threat.schema
        if schema is not None and not bool(records.legal(schema, x).all()):
            raise InvalidEvaluation(
                "threat: expected clean inputs that are legal records of the schema, got others; read the table with"
                " robustkit.data.table"
            )
        low, high = self.box(x)
        return cube(torch.zeros_like(x), self.threat.radius, (low, high)) if self.threat.norm == "Linf" else (low, high)

    def of(self, point: Tensor, x: Tensor) -> Tensor:
        """Returns the u of a point."""
        return self.threat.scaled(point, x).to(x.dtype)

    def point(self, u: Tensor, x: Tensor) -> Tensor:
        """Returns the input that u stands for, within the input range and rounded towards x."""
        point: Tensor = shift(x, self.threat.reach(u)).clamp(*self.threat.room(x))
        return point if self.threat.schema is None else records.relaxed(self.threat.schema, point)

    def gradient(self, grad: Tensor) -> Tensor:
        """Returns the gradient with respect to u."""
        grad = grad if self.threat.schema is None else records.towards_one(self.threat.schema, grad)
        return grad * self.threat.weight(grad).to(grad.dtype)

    def width(self, x: Tensor) -> float:
        """Returns how wide the input range is in u: the geometric mean over the coordinates where it has an end."""
        low, high = (torch.as_tensor(end, dtype=torch.float64, device=x.device) for end in self.threat.ends(x))
        wide = (high - low) / self.threat.weight(x)
        wide = wide[(wide > 0) & wide.isfinite()]
        return math.exp(float(wide.log().mean())) if wide.numel() else 1.0
