"""The threat: which perturbations the attacker may make, as a value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, RobustkitError, suggest
from robustkit.base.exit_codes import ExitCode
from robustkit.base.settings import integer, interval, plain
from robustkit.maths import norms, projection
from robustkit.maths.norms import NORMS, Norm
from robustkit.maths.random_numbers import Stream

Eps = str | float | Fraction
EVERYWHERE = (-math.inf, math.inf)  # bounds of a model that are not known yet
STORED = 256  # levels of a stored image


class ThreatViolation(RobustkitError):
    """An attack returned a point outside its own threat: a bug of the attack, never clipped away in silence."""

    exit_code = ExitCode.UNRELIABLE


def parse_eps(eps: Eps) -> float:
    """Returns the radius as float64; a text may be a decimal, an exact fraction such as "8/255", or "inf".

    Raises:
        ConfigurationError: If it is no number >= 0.
    """
    eps = plain(eps)
    try:
        if isinstance(eps, bool | bytes):
            raise TypeError
        radius = float(Fraction(eps)) if isinstance(eps, str) and eps != "inf" else float(eps)
    except (ValueError, ZeroDivisionError, OverflowError, TypeError):
        radius = math.nan
    if not radius >= 0:
        raise ConfigurationError(f"eps: expected a number >= 0 or a fraction such as '8/255', got {eps!r}; correct it")
    return radius


def eps_text(eps: Eps) -> str:
    """Returns `eps` as a person would type it: a short decimal, else k/255 where a float is exactly that."""
    if isinstance(eps, (str, Fraction)):
        return str(eps).strip()
    radius = float(eps)
    levels = round(radius * 255)
    if float(short := f"{radius:g}") == radius:
        return short
    return f"{levels}/255" if levels / 255 == radius else repr(radius)


def refuse_grey_levels(eps: Eps, bounds: tuple[float, float]) -> None:
    """Refuses an eps in 255ths where the input range is not one unit wide: it is in input units, not in grey levels.

    The same number as a decimal is taken as meant.

    Raises:
        ConfigurationError: If so.
    """
    low, high = bounds
    if not eps_text(eps).replace(" ", "").endswith("/255") or not math.isfinite(high - low) or high - low == 1:
        return
    radius = parse_eps(eps)
    raise ConfigurationError(
        f"eps: expected a decimal number in input units for inputs in {low:g}..{high:g}, got {eps_text(eps)}; give"
        f" {radius * (high - low):.6g} for {eps_text(eps)} of the range, {radius:.6g} if it is meant as it stands, or"
        " inputs in 0..1 with mean and std if these are normalised"
    )


@dataclass(frozen=True)
class Threat:
    """All points within `eps` of the clean input in `norm`, inside the input range `bounds`.

    Attributes:
        norm: "Linf", "L2" or "L1".
        eps: Radius in the units of the input; "8/255" is kept as typed, "inf" leaves the input range alone.
        bounds: Lowest and highest legal input value.
        target: Class the attacker wants, or None when any wrong class will do.
        levels: Number of values an input can take, 256 for stored images; None leaves it continuous. Clean inputs
            must then be on that grid, and distances are measured in whole levels, exactly.

    Raises:
        ConfigurationError: If a field is invalid.
    """

    norm: Norm = "Linf"
    eps: Eps = "8/255"
    bounds: tuple[float, float] = (0.0, 1.0)
    target: int | None = None
    levels: int | None = None

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ConfigurationError(
                f"threat: expected a norm among {', '.join(NORMS)}, got {self.norm!r}{suggest(str(self.norm), NORMS)}"
            )
        for name, least in (("target", 0), ("levels", 2)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, integer("threat", name, getattr(self, name), least))
        object.__setattr__(self, "eps", plain(self.eps))
        low, high = self.bounds if self.bounds == EVERYWHERE else interval("threat", "bounds", self.bounds)
        if high - low < self.radius < math.inf and self.norm == "Linf":
            raise ConfigurationError(
                f"threat: expected an Linf eps within the input range {low:g}..{high:g}, got {self.eps}; "
                "for inputs in 0..1 an eps of 8 grey levels is written 8/255"
            )

    @property
    def radius(self) -> float:
        """Eps as float64."""
        return parse_eps(self.eps)

    def limits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the lowest and highest point each coordinate may reach, both shaped like `x`.

        Raises:
            InvalidEvaluation: If `x` is not on the grid of `levels`.
        """
        if self.levels is not None and not bool(self.on_grid(x).all()):
            raise InvalidEvaluation(
                f"threat: expected clean inputs on a grid of {self.levels} levels in {self.bounds}, got values between "
                "them; attack stored images as they are, or leave levels out"
            )
        if self.norm == "Linf" and self.levels is not None and math.isfinite(self.radius):
            reach = math.floor(self.radius / self._level + 1e-9)
            at = self._on_levels(x)
            return self._from_levels(at - reach, x), self._from_levels(at + reach, x)
        if self.norm == "Linf":
            return projection.cube(x, self.radius, self.bounds)
        low, high = self.bounds
        return torch.full_like(x, low), torch.full_like(x, high)

    def project(self, x_adv: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Returns `x_adv` brought inside the threat around `x`, exactly: `verify` accepts every result.

        Linf and L1 give the nearest point of ball and input range; L2 scales into the ball, then clips to the input
        range, which can only shorten the perturbation. `lower` and `upper` come from `limits(x)`.
        """
        if self.norm == "Linf":
            return x_adv.clamp(lower, upper)
        if math.isinf(self.radius):
            return x_adv.clamp(*self.bounds)
        centre = x.double()
        delta = x_adv.double() - centre
        if self.norm == "L2":
            delta = projection.project_l2(delta, self.radius)
        else:
            delta = projection.project_l1(delta, self.radius, lower.double() - centre, upper.double() - centre)
        return projection.shift(x, delta).clamp(*self.bounds)

    def random(self, x: Tensor, stream: Stream, ids: Tensor, restart: Tensor, step: Tensor) -> Tensor:
        """Returns one point a row, uniform in the ball around `x`, not yet projected onto the input range."""
        shape = tuple(x.shape[1:])
        uniform = stream.uniform(shape, ids, restart, step)
        normal = uniform if self.norm == "Linf" else stream.normal(shape, ids, restart, step, draw=1)
        return (x.double() + self.radius * norms.in_ball(uniform, normal, self.norm)).to(x.dtype)

    def snap(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Returns `x_adv` on the nearest of the `levels`, or where that leaves the threat on the next toward `x`."""
        if self.levels is None:
            return x_adv
        nearest = self._from_levels(self._on_levels(x_adv), x)
        exact, centre = self._exact_levels(x_adv), self._on_levels(x)
        inward = self._from_levels(centre + (exact - centre).trunc(), x)
        return norms.where_rows(self.contains(nearest, x), nearest, inward)

    def on_grid(self, x: Tensor) -> Tensor:
        """Returns for every row whether all its values are among the `levels`, up to the rounding of float32."""
        exact = self._exact_levels(x)
        return ((exact - exact.round()).abs() < 1e-3).flatten(1).all(dim=1)

    @property
    def _level(self) -> float:
        """Distance of two neighbouring levels."""
        assert self.levels is not None
        return (self.bounds[1] - self.bounds[0]) / (self.levels - 1)

    def _exact_levels(self, x: Tensor) -> Tensor:
        return (x.double() - self.bounds[0]) / self._level

    def _on_levels(self, x: Tensor) -> Tensor:
        return self._exact_levels(x).round()

    def _from_levels(self, at: Tensor, like: Tensor) -> Tensor:
        assert self.levels is not None
        return (self.bounds[0] + at.clamp(0, self.levels - 1) * self._level).to(like.dtype).clamp(*self.bounds)

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Returns the size of every perturbation in float64, shape (N,)."""
        if self.levels is not None:
            return norms.size((self._on_levels(x_adv) - self._on_levels(x)) / (self.levels - 1), self.norm) * (
                self.bounds[1] - self.bounds[0]
            )
        return norms.size(x_adv.double() - x.double(), self.norm)

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Returns for every row whether it lies in ball and input range, measured in float64 with no tolerance."""
        low, high = self.bounds
        flat = x_adv.flatten(1)
        inside = ((flat >= low) & (flat <= high)).all(dim=1)
        if self.levels is not None:
            inside = inside & self.on_grid(x_adv)
        return inside & (self.distance(x_adv, x) <= self.radius)

    def verify(self, x_adv: Tensor, x: Tensor, who: str) -> None:
        """Re-measures every row and raises where one left the threat.

        Raises:
            ThreatViolation: Naming the row, its distance and its range.
        """
        inside = self.contains(x_adv, x)
        if not bool(inside.all()):
            row = int((~inside).nonzero()[0])
            far = float(self.distance(x_adv[row : row + 1], x[row : row + 1]))
            raise ThreatViolation(
                f"{who}: expected points within {self.norm} {self.eps} and {self.bounds}, got row {row} at "
                f"{far:.9g} with values {float(x_adv[row].min()):.9g}..{float(x_adv[row].max()):.9g}; "
                "project with Threat.project"
            )
