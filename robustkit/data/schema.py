"""What is known about the columns of a table: what a legal record is, and what an attacker may change in it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from robustkit.base.errors import ConfigurationError
from robustkit.base.foreign_file import parsing
from robustkit.base.per_coordinate import Bounds, PerCoordinate, per_coordinate
from robustkit.base.settings import choice

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["numeric", "integer", "binary", "ordinal", "category"]
May = Literal["change", "rise", "fall"]


@dataclass(frozen=True)
class Feature:
    """One feature of a table, with every number resolved.

    Attributes:
        name: Of its column, or of a group of columns.
        kind: "numeric" takes any number of the range, "integer" whole ones, "binary" and "ordinal" the `levels`, and
            of a "category" exactly one of several inputs is 1 and the others 0.
        places: Which inputs of the model hold it, counted from 0; one, but for a category.
        low: Least legal value.
        high: Largest legal value.
        eps: How far it may change by itself, in its own unit; 0 if it may not. A category changes by 1.
        said: Eps as it was given, such as "0.5 std".
        may: Whether it may only "rise" or only "fall", or "change" either way.
        cost: What a change of one unit costs, or another category.
        levels: The legal values where these are few.
        values: What the levels or categories are called in the table, where that is not a number.
        columns: The columns of the table it is made of.
    """

    name: str
    kind: Kind
    places: tuple[int, ...]
    low: float
    high: float
    eps: float
    said: str
    may: May
    cost: float
    levels: tuple[float, ...]
    values: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether its fields fit together, which those of a stranger's schema need not."""
        single = len(self.places) == len(self.columns) == 1
        named = len(self.values) in (0, len(self.places) if self.one_hot else len(self.levels))
        shaped = (self.one_hot and len(self.columns) in (1, len(self.places))) or single
        return shaped and named and self.low <= self.high and 0 <= self.eps < math.inf and self.cost >= 0

    @property
    def one_hot(self) -> bool:
        """Whether it is a category, held by several inputs."""
        return self.kind == "category"

    @property
    def whole(self) -> bool:
        """Whether it takes the whole numbers of its range, and all of them."""
        return self.kind == "integer" or (bool(self.levels) and self.levels == tuple(range(len(self.levels))))

    def distance(self, norm: str) -> float:
        """Returns the eps of each of its inputs: two of them change by 1 where another category is chosen.

        Where features share eps, steps get a hair more, so that those that use it up in whole do so in every order.
        """
        inputs = 2 if self.one_hot and len(self.places) > 1 else 1
        hair = 1.0 if self.kind == "numeric" or norm == "Linf" else 1 + 1e-12
        return hair * self.eps * {"Linf": 1.0, "L2": float(np.sqrt(inputs)), "L1": float(inputs)}[norm]

    def change(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """Returns by how much it differs in float64 (N,): with its sign, in its own unit; 1 for another category."""
        at = list(self.places)
        delta = x_adv[:, at].double() - x[:, at].double()
        return delta.abs().amax(dim=1) if self.one_hot else delta[:, 0]

    def shown(self, row: Sequence[float]) -> str:
        """Returns its value in one record, F numbers, as the table has it."""
        if self.one_hot:
            chosen = [row[place] for place in self.places].index(1)
            return self.values[chosen] if self.values else self.columns[chosen]
        value = row[self.places[0]]
        return self.values[self.levels.index(value)] if self.values and value in self.levels else f"{value:.6g}"


@dataclass(frozen=True)
class Schema:
    """The features of a table in the order of their columns; see `robustkit.data.table`.

    Attributes:
        features: All of them.
        label: The column with the labels, where the schema names it.
    """

    features: tuple[Feature, ...]
    label: str | None = None

    def __post_init__(self) -> None:
        places = [place for one in self.features for place in one.places]
        if not places or sorted(places) != list(range(len(places))) or not all(one.sound for one in self.features):
            raise ConfigurationError(
                "schema: expected features that share the inputs 0, 1, ... between them, got others"
            )

    def to_text(self) -> str:
        """Returns it as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Schema:
        """Returns what `to_text` wrote.

        Raises:
            ConfigurationError: If it is something else.
        """
        with parsing("schema", "JSON as robustkit writes it"):
            return TypeAdapter(Schema).validate_json(text)

    @cached_property
    def width(self) -> int:
        """How many inputs a record has."""
        return sum(len(one.places) for one in self.features)

    @cached_property
    def bounds(self) -> Bounds:
        """Lowest and highest legal value of every input, for `Classifier(model, bounds=...)`."""
        low, high = (
            self._spread(values) for values in ([f.low for f in self.features], [f.high for f in self.features])
        )
        return per_coordinate("schema", "bounds", low), per_coordinate("schema", "bounds", high)

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that tell it from others."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    @cached_property
    def cost(self) -> NDArray[np.float64]:
        """What a change of one unit costs, by feature."""
        return np.array([one.cost for one in self.features])

    @cached_property
    def whole(self) -> list[int]:
        """Places of the inputs that hold whole numbers."""
        return [one.places[0] for one in self.features if one.whole]

    @cached_property
    def stepped(self) -> list[tuple[int, tuple[float, ...]]]:
        """Places of the inputs that hold other levels, with these."""
        return [(one.places[0], one.levels) for one in self.features if one.levels and not one.whole]

    @cached_property
    def groups(self) -> list[list[int]]:
        """Places of the inputs of every category that has a choice."""
        return [list(one.places) for one in self.features if len(one.places) > 1]

    @cached_property
    def steps(self) -> list[int]:
        """Of every input, the number of its feature among those that cannot take any number, or -1."""
        stepping = [one for one in self.features if one.kind != "numeric"]
        number = {place: rank for rank, one in enumerate(stepping) for place in one.places}
        return [number.get(place, -1) for place in range(self.width)]

    def only(self, way: May) -> list[bool]:
        """Returns which inputs may only "rise", or only "fall"."""
        ways = {place: one.may for one in self.features for place in one.places}
        return [ways[place] == way for place in range(self.width)]

    def eps(self, norm: str = "Linf") -> RecordEps:
        """Returns the radii of a threat under which every change is a legal record, for `evaluate(..., eps=...)`.

        Args:
            norm: "Linf", "L2" or "L1", that of the threat. In Linf each feature may change as far as its eps says,
                whatever the others do; in L2 and L1 they share: one that changes half as far leaves the others less.
        """
        choice("schema", "norm", norm, ("Linf", "L2", "L1"))
        radii = self._spread([one.distance(norm) for one in self.features])
        return RecordEps(tuple(radii.tolist()), radii.shape, self)

    def fits(self, eps: Any, norm: str) -> bool:
        """Returns whether radii are those of this schema in `norm`, in any size."""
        own = self.eps(norm).resized(1.0).values
        return schema_of(eps) == self and bool(np.allclose(eps.resized(1.0).values, own, rtol=1e-9))

    def changes(self, x: Tensor, x_adv: Tensor) -> NDArray[np.float64]:
        """Returns by how much every feature of every record differs, shape (N, features), as `Feature.change` does."""
        return np.stack([one.change(x, x_adv).cpu().numpy() for one in self.features], axis=1)

    def costs(self, changes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns what `changes` (N, features) cost, shape (N,): the sum of their sizes times the cost of each."""
        return np.asarray((np.abs(changes) * self.cost).sum(axis=1))

    def _spread(self, values: list[float]) -> NDArray[np.float64]:
        spread = np.zeros(self.width)
        for one, value in zip(self.features, values, strict=True):
            spread[list(one.places)] = value
        return spread


@dataclass(frozen=True, repr=False)
class RecordEps(PerCoordinate):
    """Radii for the inputs of a table, together with what a legal record of it is.

    Attributes:
        schema: Of the table.
    """

    schema: Schema

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that tell it from others, over the schema as well."""
        return hashlib.sha256(
            f"{PerCoordinate(self.values, self.shape).digest}{self.schema.digest}".encode()
        ).hexdigest()[:12]


def with_schema(eps: PerCoordinate | None, schema: Schema | None) -> PerCoordinate | None:
    """Returns radii together with a schema, where there are both."""
    return eps if eps is None or schema is None else RecordEps(eps.values, eps.shape, schema)


def schema_of(eps: Any) -> Schema | None:
    """Returns the schema that legal records must follow, if a radius brings one."""
    return eps.schema if isinstance(eps, RecordEps) else None
