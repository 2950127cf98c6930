"""The threat: which perturbations the attacker may make, as a value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from robustkit.attacks.grid import Grid
from robustkit.attacks.nearest_record import nearest_record
from robustkit.attacks.radius import Eps as Eps
from robustkit.attacks.radius import parse_eps as parse_eps
from robustkit.attacks.radius import read_eps as read_eps
from robustkit.attacks.radius import refuse_fractions
from robustkit.base.errors import ConfigurationError, InvalidEvaluation, RobustkitError, suggest
from robustkit.base.exit_codes import ExitCode
from robustkit.base.per_coordinate import (
    Bounds,
    Number,
    PerCoordinate,
    bounds_of,
    by_coordinate,
    ends_on,
    overall,
)
from robustkit.base.settings import integer
from robustkit.data import records
from robustkit.data.layout import PackedEps
from robustkit.data.schema import RecordEps, Schema, schema_of
from robustkit.maths import norms, projection
from robustkit.maths.norms import COUNTED, NORMS, Norm
from robustkit.maths.random_numbers import Stream

EVERYWHERE = (-math.inf, math.inf)  # bounds of a model that are not known yet
STORED = 256  # levels of a stored image


class ThreatViolation(RobustkitError):
    """An attack returned a point outside its own threat: a bug of the attack, never clipped away in silence."""

    exit_code = ExitCode.UNRELIABLE


@dataclass(frozen=True)
class Threat:
    """All points within `eps` of the clean input in `norm`, inside the input range `bounds`.

    With one eps_i per coordinate the ball is that of the scaled change: norm(delta_i / eps_i) <= 1; in Linf simply
    |delta_i| <= eps_i. A distance is then measured in units of the largest eps, which is also the `radius`: a
    coordinate of that eps counts as it is, one with half of it twice. What has an eps of 0 may not change at all.

    With the eps of a table's schema (`Schema.eps`) all points are legal records: whole numbers where it says so, one
    choice of each category, and no change in a direction that it forbids.

    Attributes:
        norm: "Linf", "L2", "L1"; how many values ("L0") or pixels ("L0-pixels") are changed, however far; or the side
            in pixels of a square that all changed pixels lie in ("patch"), anywhere.
        eps: Radius in the units of the input; "8/255" is kept as typed, "inf" leaves the input range alone. A tensor or
            array that broadcasts to one input gives every coordinate its own. What is counted is a whole number.
        bounds: Lowest and highest legal input value, numbers or arrays that broadcast to one input.
        target: Class the attacker wants, or None when any wrong class will do.
        levels: Number of values an input can take, 256 for stored images; None leaves it continuous. Clean inputs
            must then be on that grid, and distances are measured in whole levels, exactly.
        mask: Booleans that broadcast to one input, True where it may change; kept as an eps of 0 where it may not.

    Raises:
        ConfigurationError: If a field is invalid.
    """

    norm: Norm = "Linf"
    eps: Eps = "8/255"
    bounds: Bounds = (0.0, 1.0)
    target: int | None = None
    levels: int | None = None
    mask: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.norm not in (known := (*NORMS, *COUNTED)):
            raise ConfigurationError(
                f"threat: expected a norm among {', '.join(known)}, got {self.norm!r}{suggest(str(self.norm), known)}"
            )
        for name, least in (("target", 0), ("levels", 2)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, integer("threat", name, getattr(self, name), least))
        object.__setattr__(self, "eps", read_eps(self.eps, self.mask))
        object.__setattr__(self, "mask", None)
        object.__setattr__(self, "bounds", bounds_of("threat", "bounds", self.bounds))
        if self.sparse:
            refuse_fractions(self.eps, self.norm, self.places)
        if self.per_coordinate:
            if self.levels is not None:
                raise ConfigurationError(
                    "threat: expected levels only with one eps and one range for all coordinates, got levels="
                    f"{self.levels} beside arrays; leave levels out"
                )
            return
        low, high = self.range
        if high - low < self.radius < math.inf and self.norm == "Linf":
            raise ConfigurationError(
                f"threat: expected an Linf eps within the input range {low:g}..{high:g}, got {self.eps}; "
                "for inputs in 0..1 an eps of 8 grey levels is written 8/255"
            )

    @property
    def sparse(self) -> bool:
        """Whether eps counts changed places, each of which may go anywhere in the input range."""
        return self.norm in COUNTED

    @property
    def places(self) -> str:
        """What eps counts where it counts."""
        return {"L0": "values", "L0-pixels": "pixels"}.get(self.norm, "pixels along a side of the patch")

    @property
    def radius(self) -> float:
        """Eps as float64, the largest where it differs by coordinate."""
        return parse_eps(self.eps)

    @property
    def each(self) -> Number:
        """Eps as float64, one for each coordinate where it differs."""
        return self.eps if isinstance(self.eps, PerCoordinate) else self.radius

    @property
    def per_coordinate(self) -> bool:
        """Whether eps or the bounds differ from one coordinate to the next."""
        return by_coordinate(self.eps, *self.bounds)

    @property
    def schema(self) -> Schema | None:
        """What legal records are, where the inputs are those of a table."""
        return schema_of(self.eps)

    @property
    def stored(self) -> Threat | None:
        """The same on the levels of stored images; None where it differs by coordinate, which has no levels."""
        return None if self.per_coordinate else replace(self, levels=STORED)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest legal value of any coordinate."""
        return overall(self.bounds)

    def ends(self, x: Tensor) -> tuple[Any, Any]:
        """Returns lowest and highest legal value for the rows of `x`: numbers, or tensors in its precision."""
        return ends_on(self.bounds, x)

    def room(self, x: Tensor) -> tuple[Any, Any]:
        """Returns the same without what may not change, or not that way, whatever eps is."""
        low, high = ends = self.ends(x)
        if not isinstance(self.eps, RecordEps):
            return self.eps.layout.within(x, low, high) if isinstance(self.eps, PackedEps) else ends
        fixed, schema = self.eps.on(x) == 0, self.eps.schema
        rises, falls = (torch.tensor(schema.only(way), device=x.device) for way in ("rise", "fall"))
        return torch.where(fixed | rises, x, low), torch.where(fixed | falls, x, high)

    def weight(self, x: Tensor) -> Tensor:
        """Returns in float64 what a scaled change of 1 is at each coordinate of `x`: 1 at the largest eps."""
        if not isinstance(self.eps, PerCoordinate):
            return torch.ones((), dtype=torch.float64, device=x.device)
        each = self.eps.on(x)
        return (each > 0).double() if math.isinf(self.radius) else each / self.radius

    def scaled(self, point: Tensor, x: Tensor) -> Tensor:
        """Returns the change from `x` to `point` in float64, as large as it counts; 0 at fixed coordinates."""
        delta = point.double() - x.double()
        if not isinstance(self.eps, PerCoordinate):
            return delta
        weight = self.weight(x)
        return torch.where(weight > 0, delta / weight, 0.0)

    def reach(self, scaled: Tensor) -> Tensor:
        """Returns the change in float64 that `scaled` (N, ...) stands for, the inverse of `scaled`."""
        if not isinstance(self.eps, PerCoordinate):
            return scaled.double()
        if math.isinf(self.radius):
            return self.weight(scaled) * scaled.double()
        # Divided first: then the radius becomes exactly eps_i, and what is below it never more.
        return self.eps.on(scaled) * (scaled.double() / self.radius)

    def size(self, delta: Tensor) -> Tensor:
        """Returns the size of every float64 change (N, ...) in units of the largest eps, shape (N,)."""
        if not isinstance(self.eps, PerCoordinate):
            return norms.size(delta, self.norm)
        each = self.eps.on(delta)
        if self.sparse:
            return torch.where(((each == 0) & (delta != 0)).flatten(1).any(1), torch.inf, norms.size(delta, self.norm))
        if math.isinf(self.radius):
            return norms.size(torch.where(each > 0, delta, torch.where(delta == 0, 0.0, torch.inf)), self.norm)
        scaled = torch.where(delta == 0, 0.0, delta / each)
        return self.radius * norms.size(scaled, self.norm)

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
            grid = self._grid
            reach, at = math.floor(self.radius / grid.step + 1e-9), grid.of(x).round()
            return grid.values(at - reach, x.dtype), grid.values(at + reach, x.dtype)
        low, high = self.room(x)
        if isinstance(self.eps, PerCoordinate):
            far = self.eps.on(x) if self.norm == "Linf" else torch.where(self.eps.on(x) > 0, torch.inf, 0.0)
            return projection.cube(x, far.expand_as(x), (low, high))
        if self.norm == "Linf":
            return projection.cube(x, self.radius, (low, high))
        low, high = (end.expand_as(x) if isinstance(end, Tensor) else torch.full_like(x, end) for end in (low, high))
        return low, high

    def project(self, x_adv: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Returns `x_adv` brought inside the threat around `x`, exactly: `verify` accepts every result.

        Linf and L1 give the nearest point of ball and input range (in L1 with one eps per coordinate the nearest in
        scaled coordinates); L2 scales into the ball, then clips to the input range, which can only shorten the
        perturbation. L0 keeps the places that bring `x` nearest to `x_adv`. `lower` and `upper` come from `limits(x)`.
        """
        if self.norm == "Linf" or math.isinf(self.radius):
            return x_adv.clamp(lower, upper)
        if self.sparse:
            return projection.project_l0(x_adv, x, lower, upper, int(self.radius), self.norm)
        if self.norm == "L2":
            delta = projection.project_l2(self.scaled(x_adv, x), self.radius)
        else:
            room = self.scaled(lower, x), self.scaled(upper, x)
            delta = projection.project_l1(self.scaled(x_adv, x), self.radius, *room)
        return projection.shift(x, self.reach(delta)).clamp(lower, upper)

    def random(self, x: Tensor, stream: Stream, ids: Tensor, restart: Tensor, step: Tensor) -> Tensor:
        """Returns one point a row, uniform in the ball around `x`, not yet projected onto the input range.

        Raises:
            ConfigurationError: In L0, which has no ball.
        """
        if self.sparse:
            raise ConfigurationError(
                f"threat: expected a norm among {', '.join(NORMS)}, got {self.norm}; use an attack for it"
            )
        shape = tuple(x.shape[1:])
        uniform = stream.uniform(shape, ids, restart, step)
        normal = uniform if self.norm == "Linf" else stream.normal(shape, ids, restart, step, draw=1)
        return (x.double() + self.reach(self.radius * norms.in_ball(uniform, normal, self.norm))).to(x.dtype)

    def steepest(self, grad: Tensor, movable: Tensor | None = None, share: float = 1.0) -> Tensor:
        """Returns the change of size 1 that gains most to first order; see `robustkit.maths.norms.steepest`."""
        if not isinstance(self.eps, PerCoordinate):
            return norms.steepest(grad, self.norm, movable, share)
        weight = self.weight(grad).to(grad.dtype)
        return weight * norms.steepest(weight * grad, self.norm, movable, share)

    def snap(self, x_adv: Tensor, x: Tensor, outside: bool = False) -> Tensor:
        """Returns the legal point nearest to `x_adv`: a record, or one on the `levels`.

        Where that leaves the threat, it is one on the way to `x`; a record only without `outside`.
        """
        if isinstance(self.eps, RecordEps):
            if outside or self.norm == "Linf":
                return records.rounded(self.eps.schema, x_adv, x, *(self.room if outside else self.limits)(x))
            room = self.limits(x)
            if not bool((near := self.reaches(x_adv, x)).all()):
                x_adv = norms.where_rows(near, x_adv, self.project(x_adv, x, *room))
            record = nearest_record(self.eps, 2 if self.norm == "L2" else 1, x_adv, x, *room)
            return norms.where_rows(self.contains(record, x), record, x)
        if self.levels is None:
            return x_adv
        grid = self._grid
        exact, centre = grid.of(x_adv), grid.of(x).round()
        nearest = grid.values(exact.round(), x.dtype)
        inward = grid.values(centre + (exact - centre).trunc(), x.dtype)
        return norms.where_rows(self.contains(nearest, x), nearest, inward)

    def on_grid(self, x: Tensor) -> Tensor:
        """Returns for every row whether all its values are among the `levels`, up to the rounding of float32."""
        return self._grid.holds(x).flatten(1).all(dim=1)

    @property
    def _grid(self) -> Grid:
        assert self.levels is not None
        return Grid(*self.range, self.levels)

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Returns the size of every perturbation in float64, shape (N,)."""
        if self.levels is not None:
            moved = self._grid.of(x_adv).round() - self._grid.of(x).round()
            if self.sparse:
                return norms.size(moved, self.norm)
            return norms.size(moved / (self.levels - 1), self.norm) * (self.range[1] - self.range[0])
        return self.size(x_adv.double() - x.double())

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Returns for every row whether it lies in ball and input range, measured in float64 with no tolerance."""
        found = self.reaches(x_adv, x)
        return found if self.schema is None else found & records.legal(self.schema, x_adv)

    def reaches(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Returns the same but for the schema: what attacks may search, whether or not it is a legal record."""
        low, high = self.room(x) if isinstance(self.eps, RecordEps | PackedEps) else self.ends(x_adv)
        inside = ((x_adv >= low) & (x_adv <= high)).flatten(1).all(dim=1)
        if isinstance(self.eps, PerCoordinate) and math.isinf(self.radius):
            inside = inside & ((x_adv == x) | (self.eps.on(x) > 0)).flatten(1).all(dim=1)
        if self.levels is not None:
            inside = inside & self.on_grid(x_adv)
        found: Tensor = inside & (self.distance(x_adv, x) <= self.radius)
        return found

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
