"""Named tensors with one row per sample, and what an attack is given to work on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from robustkit.attacks.scaled import Scaled
from robustkit.attacks.threat import Threat
from robustkit.base.per_coordinate import overall
from robustkit.maths.losses import Loss, mean_logits
from robustkit.maths.norms import has_room, per_row, size, steepest
from robustkit.maths.projection import best_in_box
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier
from robustkit.model.gradient import Gradient
from robustkit.model.per_sample_randomness import chance

T = TypeVar("T")


class Rows:
    """Tensors by name, all with one row per sample; never changed in place.

    The engine's are attributes. What an attack keeps for itself it adds with `having(momentum=...)` and reads as
    `rows["momentum"]`, so that a type checker knows every attribute there is.

    Attributes:
        x: Clean inputs (N, ...); the zeros of `Scaled` where the threat differs by coordinate.
        input: Only there: the clean inputs themselves (N, ...).
        ids: Their ids (N,).
        goal: The label, or the class to reach (N,).
        position: Place among the samples submitted (N,).
        clean: Margin of the clean input (N,).
        rival: Largest margin that other attacks reached (N,).
        quits: Whether to give the row up (N,).
        lower: Least value of every coordinate (N, ...).
        upper: Largest value of every coordinate (N, ...).
        restart: Number of this start (N,).
        step: Number of this step since the start (N,).
        x_adv: The attack's next proposal (N, ...).
        logits: What the attack saw at the proposal it was given (N, K).
        best: The best point so far (N, ...).
        broken: Whether that reaches the goal (N,).
        margin: Its margin (N,).
        distance: Distance of the nearest success (N,).
        steps: Steps made in this wave of starts (N,).
        queries: Forward passes made in it (N,).
        steps_before: Steps made in the waves before (N,).
        queries_before: Forward passes made in these (N,).
        done: Whether looks do not count any more (N,).
        relaxed: Of tables only: the wrong class that a point had which need not be a legal record, or -1 (N,).
    """

    x: Tensor
    input: Tensor
    ids: Tensor
    goal: Tensor
    position: Tensor
    clean: Tensor
    rival: Tensor
    quits: Tensor
    lower: Tensor
    upper: Tensor
    restart: Tensor
    step: Tensor
    x_adv: Tensor
    logits: Tensor
    best: Tensor
    broken: Tensor
    margin: Tensor
    distance: Tensor
    steps: Tensor
    queries: Tensor
    steps_before: Tensor
    queries_before: Tensor
    done: Tensor
    relaxed: Tensor

    def __init__(self, **tensors: Tensor) -> None:
        self.__dict__.update(tensors)

    if not TYPE_CHECKING:  # with it, a type checker would believe in every name

        def __getattr__(self, name):
            raise AttributeError(f"rows: no tensor called {name!r}; there are {', '.join(self.__dict__)}")

    def __getitem__(self, name: str) -> Tensor:
        """Returns the tensor called `name`, such as one that the attack keeps for itself."""
        try:
            tensor: Tensor = self.__dict__[name]
        except KeyError:
            raise KeyError(f"rows: no tensor called {name!r}; there are {', '.join(self.__dict__)}") from None
        return tensor

    def __len__(self) -> int:
        first: Tensor = next(iter(self.__dict__.values()))
        return first.shape[0]

    def having(self, **tensors: Tensor) -> Rows:
        """Returns these rows with some tensors added or replaced."""
        return Rows(**{**self.__dict__, **tensors})

    def take(self, index: Tensor | slice) -> Rows:
        """Returns the rows at `index`: positions, a mask or a slice."""
        return Rows(**{name: tensor[index] for name, tensor in self.__dict__.items()})

    def keep(self, *names: str) -> Rows:
        """Returns only the tensors called `names`."""
        return Rows(**{name: self.__dict__[name] for name in names})

    def without(self, name: str) -> Rows:
        """Returns all tensors but the one called `name`."""
        return Rows(**{key: tensor for key, tensor in self.__dict__.items() if key != name})

    @staticmethod
    def join(parts: list[Rows]) -> Rows:
        """Returns the rows of all parts, which must hold the same tensors."""
        if len(parts) == 1:
            return parts[0]
        return Rows(**{name: torch.cat([vars(part)[name] for part in parts]) for name in vars(parts[0])})


@dataclass(frozen=True)
class Problem:
    """What an attack works on.

    Attributes:
        classifier: The model.
        threat: What may be changed.
        stream: The random numbers of the attack.
        targeted: Whether rows have a class to reach rather than one to leave.
        eot: How many draws of a random model every look averages (expectation over transformation, Athalye et al.
            2018, arXiv 1707.07397).
        scaled: Where the threat differs by coordinate, the border to the coordinates of the rows; `threat` is then the
            ball there.
        outside: Whether points may lie outside the threat, where the attack looks for the nearest.
    """

    classifier: Classifier
    threat: Threat
    stream: Stream
    targeted: bool = False
    eot: int = 1
    scaled: Scaled | None = None
    outside: bool = False

    @classmethod
    def under(
        cls,
        threat: Threat,
        classifier: Classifier,
        stream: Stream,
        targeted: bool = False,
        eot: int = 1,
        outside: bool = False,
    ) -> Problem:
        """Returns the problem of a threat, in scaled coordinates where it differs by coordinate."""
        if not threat.per_coordinate:
            return cls(classifier, threat, stream, targeted, eot)
        scaled = Scaled(threat)
        return cls(classifier, scaled.ball, stream, targeted, eot, scaled, outside)

    @property
    def whole(self) -> Threat:
        """What may be changed, in the units of the inputs."""
        return self.threat if self.scaled is None else self.scaled.threat

    def inputs(self, rows: Rows) -> Tensor:
        """Returns the clean inputs (N, ...) themselves."""
        return rows.x if self.scaled is None else rows.input

    def point(self, rows: Rows, x_adv: Tensor) -> Tensor:
        """Returns the input (N, ...) that the model sees for `x_adv`: on the levels, in the units of the inputs."""
        if self.scaled is not None:
            return self.scaled.point(x_adv, rows.input)
        return x_adv if self.threat.levels is None else self.threat.snap(x_adv, rows.x)

    def legal(self, rows: Rows, x_adv: Tensor) -> Tensor:
        """Returns the input (N, ...) that counts for `x_adv`: of a table the legal record, else the `point`."""
        point = self.point(rows, x_adv)
        if self.scaled is None or self.whole.schema is None:
            return point
        return self.whole.snap(point, rows.input, self.outside)

    def x_adv_of(self, rows: Rows, point: Tensor) -> Tensor:
        """Returns the `x_adv` (N, ...) of an input, the inverse of `point`."""
        return point if self.scaled is None else self.scaled.of(point, rows.input)

    def box(self, rows: Rows) -> tuple[Any, Any]:
        """Returns the least and largest legal values of `x_adv`, whatever eps is: numbers, or tensors (N, ...)."""
        return self.classifier.bounds if self.scaled is None else self.scaled.box(rows.input)

    def limits(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Returns the least and largest values of `x_adv` that the threat allows, both (N, ...)."""
        return self.threat.limits(rows.x) if self.scaled is None else self.scaled.limits(rows.input)

    def width(self, rows: Rows) -> float:
        """Returns how wide the box is, or 1 where it has no end: the unit of step sizes."""
        if self.scaled is not None:
            return self.scaled.width(rows.input)
        low, high = overall(self.classifier.bounds)
        return high - low if math.isfinite(high - low) else 1.0

    def logits(self, rows: Rows, x: Tensor, relaxed: bool = False) -> Tensor:
        """Returns the logits (N, K) at `x` (N, ...), those of the mean probabilities where draws are averaged.

        Of a table they are those of the legal record, or else those of `x` itself, `relaxed`.
        """
        x = self.point(rows, x) if relaxed else self.legal(rows, x)
        with torch.no_grad():
            return mean_logits([self._draw(rows, draw, self.classifier.logits, x) for draw in range(self.eot)])

    def gradient(self, rows: Rows, x: Tensor, loss: Loss) -> Gradient:
        """Returns logits, loss and loss gradient at `x` (N, ...) for the rows' goals, averaged over the draws."""
        x = self.point(rows, x)
        found = [self._draw(rows, draw, self.classifier.gradient, x, rows.goal, loss) for draw in range(self.eot)]
        if self.scaled is not None:
            found = [one._replace(grad=self.scaled.gradient(one.grad)) for one in found]
        if self.eot == 1:
            return found[0]
        logits, losses, grads = zip(*found, strict=True)
        return Gradient(mean_logits(logits), torch.stack(losses).mean(0), torch.stack(grads).mean(0))

    def steepest(self, rows: Rows, x_adv: Tensor, grad: Tensor, length: float, share: float) -> Tensor:
        """Returns the direction, of size 1, in which an attack moves `x_adv` (N, ...) by `length` to raise its loss.

        In scaled coordinates ranges are narrow and wide side by side, and most of a step along the gradient may be cut
        off. In L2 and L1 it leads straight to the best point of ball and range there (Frank & Wolfe 1956), and no
        further, which is exact where the loss is linear.

        Args:
            rows: The rows.
            x_adv: Where they are.
            grad: Of the loss, shaped alike.
            length: Of the step, > 0.
            share: For L1: see `robustkit.maths.norms.steepest`; without effect in scaled coordinates.
        """
        norm, radius = self.threat.norm, self.threat.radius
        if self.scaled is None or norm == "Linf":
            movable = has_room(x_adv, grad, rows.lower, rows.upper) if norm == "L1" else None
            return steepest(grad, norm, movable, share)
        room = rows.lower.double() - rows.x.double(), rows.upper.double() - rows.x.double()
        way = best_in_box(grad.double(), norm, radius, *room) - (x_adv.double() - rows.x.double())
        moves = (size(grad, "Linf") > 0) / size(way, norm).clamp(min=max(length, torch.finfo(torch.float64).tiny))
        return (way * per_row(moves, way)).to(x_adv)

    def _draw(self, rows: Rows, draw: int, look: Callable[..., T], *arguments: Any) -> T:
        """Returns what one look sees; inside a random model the numbers are those of the row, its step and the draw."""
        if self.classifier.draws == 1:
            return look(*arguments)
        with chance(self.stream, rows.ids, rows.restart, rows.step, draw):
            return look(*arguments)


class RowWise(Protocol):
    """What the engine asks of an attack; `robustkit.attacks.base.Attack` explains every member."""

    name: ClassVar[str]
    kind: ClassVar[str]
    leaves_ball: ClassVar[bool]

    @property
    def eot(self) -> int:
        """Draws of a random model that every look averages."""

    @property
    def close(self) -> float | None:
        """Share of its clean margin below which a sample is begun."""

    @property
    def starts(self) -> int:
        """How many times an unbroken row is started."""

    @property
    def steps_per_start(self) -> int:
        """How many times `step` is called after each start."""

    def threat(self, classifier: Classifier) -> Threat:
        """Returns what it may change."""

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Returns `rows` with a first proposal."""

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Returns `rows` one step further."""
