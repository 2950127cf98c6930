"""The contract of an attack: a frozen value whose fields are its configuration, and a row-wise state machine."""

from __future__ import annotations

import dataclasses
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robustkit.attacks.engine import Engine
from robustkit.attacks.radius import eps_text, refuse_grey_levels
from robustkit.attacks.rows import Problem, Rows
from robustkit.attacks.threat import EVERYWHERE, Eps, Threat, read_eps
from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.settings import Scalar, between, integer, settle
from robustkit.base.settings import seed as known_seed
from robustkit.data.dataset import read_ids
from robustkit.data.labels import as_labels
from robustkit.data.layout import layout_of
from robustkit.maths.losses import known_loss
from robustkit.maths.norms import NORMS, Norm
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.model.unpacked import layout_taken

CLOSE = 0.1  # share of its clean lead that a sample is left with where longer attacks may still break it (docs/log.md)


@dataclass(frozen=True, repr=False)
class Adversarial:
    """What an attack found, row by row, in the order of the input.

    Attributes:
        x_adv: The best point met, always inside the threat: the first that succeeded, else the nearest to success.
        success: Whether `x_adv` reaches the goal: a wrong class, or the target where one is set.
        margin: Best wrong logit minus the label's (targeted: target's minus the best other); >= 0 is success.
        distance: Size of the perturbation in the norm of the attack, float64.
        steps: Steps made until success, or all of them.
    """

    x_adv: Tensor
    success: Tensor
    margin: Tensor
    distance: Tensor
    steps: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        """Yields `x_adv` and `success`, so that `x_adv, success = attack(model, x, y)` works."""
        return iter((self.x_adv, self.success))

    def __repr__(self) -> str:
        """Returns how many rows were broken, and what the points look like."""
        return f"Adversarial({int(self.success.sum())} of {len(self.success)} broken, x_adv {tuple(self.x_adv.shape)})"


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """Base of all attacks.

    Sub-classes are final, add fields, and say how a row starts and how it makes one step. `start` proposes a point
    for every row in `x_adv`. `step` evaluates the model at `x_adv`, leaves what it saw there in `logits`, and moves
    `x_adv` to its next proposal. The engine calls `step` exactly `steps` times for a row that does not break, looks
    at the last proposal itself, and starts the row again for the next restart. A class with `step` has a field
    `steps: int` or a property `steps_per_start`, and is refused where it is defined without either.

    Attributes:
        norm: "Linf", "L2" or "L1".
        eps: Radius in units of the input, a number or an exact fraction such as "8/255"; a tensor or array that
            broadcasts to one input gives every coordinate its own, 0 where it may not change. See `Threat`.
        restarts: How often an unbroken row starts anew, >= 1.
        target: Class to reach instead of any wrong one; goals per sample are given in the call.
        eot: EOT samples of a random model that every look at it averages, >= 1.
        levels: Look only at points on a grid of so many levels per coordinate, 256 for stored images.
        mask: Booleans that broadcast to one input, True where it may change; kept as an eps of 0 where it may not.
        close: In an evaluation, do not begin a sample unless the attacks before left it less than this share of its
            clean logit margin, in (0, 1); by default all are begun. Not with a target, and without effect where the
            nearest point is looked for.

    Raises:
        ConfigurationError: If a field is invalid.
    """

    norm: Norm = "Linf"
    eps: Eps = "8/255"
    restarts: int = 1
    target: int | None = None
    eot: int = 1
    levels: int | None = None
    close: float | None = None
    mask: Any = field(default=None, repr=False)

    name: ClassVar[str]
    kind: ClassVar[str] = "white-box"
    source: ClassVar[str]
    norms: ClassVar[tuple[Norm, ...]] = NORMS
    minimal: ClassVar[bool] = False  # whether it looks for the minimal perturbation, not any within eps
    leaves_ball: ClassVar[bool] = False  # whether it may look outside the threat; such points never count
    per_coordinate: ClassVar[bool] = (
        False  # whether it asks the model by `problem` alone, so that coordinates can be scaled
    )

    def __init_subclass__(cls, **more: Any) -> None:
        """Refuses a class whose name, source or number of steps nobody could know."""
        super().__init_subclass__(**more)
        for fact in ("name", "source"):
            if not isinstance(getattr(cls, fact, None), str):
                raise ConfigurationError(
                    f"attack {cls.__name__}: expected a {fact}, got none; add `{fact}: ClassVar[str] = ...`"
                )
        declared = cls.steps_per_start is not Attack.steps_per_start
        if cls.step is not Attack.step and not declared and not any(map(_has_steps, cls.__mro__)):
            raise ConfigurationError(
                f"attack {cls.__name__}: expected the number of steps beside `step`, got neither a field `steps: int`"
                " nor a property `steps_per_start`; add one"
            )

    def __post_init__(self) -> None:
        settle(self.name, self)
        object.__setattr__(self, "eps", read_eps(self.eps, self.mask))
        object.__setattr__(self, "mask", None)
        if self.norm not in self.norms:
            raise ConfigurationError(
                f"{self.name}: expected a norm among {', '.join(self.norms)}, got {self.norm!r}"
                f"{suggest(str(self.norm), self.norms)}"
            )
        threat = Threat(norm=self.norm, eps=self.eps, bounds=EVERYWHERE, target=self.target, levels=self.levels)
        if math.isinf(threat.radius) and not self.minimal:
            raise ConfigurationError(
                f"{self.name}: expected a finite eps, got {self.eps}; only minimal attacks need none"
            )
        integer(self.name, "restarts", self.restarts)
        integer(self.name, "eot", self.eot)
        if self.close is not None:
            between(self.name, "close", self.close, "(0, 1)")
            if self.target is not None:
                raise ConfigurationError(f"{self.name}: expected either target or close, got both; drop one")

    def accept_loss(self) -> None:
        """Checks the field `loss`, for attacks that have one; a function then answers to its address in texts."""
        object.__setattr__(self, "loss", known_loss(getattr(self, "loss")))  # noqa: B009 - mypy sees no field

    @property
    def steps_per_start(self) -> int:
        """How many times the engine calls `step` after each `start`: the field `steps`; 0 where there is no `step`."""
        steps: int = 0 if type(self).step is Attack.step else getattr(self, "steps")  # noqa: B009 - mypy sees no field
        return steps

    @property
    def starts(self) -> int:
        """How many times the engine starts an unbroken row: `restarts`, or more where each start has its own target."""
        return self.restarts

    @abstractmethod
    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Returns `rows` with `x_adv` (and whatever `step` needs) for fresh rows.

        The engine provides `x`, `lower`, `upper` (N, ...), `goal` (N,), the label or the target, `ids`, `restart`
        and `step` (N,); `clean` and `rival` (N,), the margin of `x` and the largest that other attacks reached, and
        `quits` (N,), which an attack of one start may set in `step` to give a row up.
        """

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Returns `rows` one step further, with `logits` (N, K) seen at the `x_adv` it was given.

        Never called for an attack whose starts are single proposals, which therefore need not have it.
        """
        raise NotImplementedError

    @classmethod
    def implementation(cls) -> str:
        """Returns the full name of the class, by which a report says what ran."""
        return f"{cls.__module__}.{cls.__name__}"

    @property
    def label(self) -> str:
        """What ledgers and reports call it."""
        return self.name

    @property
    def targeted(self) -> bool:
        """Whether every row is driven to the class `target`."""
        return self.target is not None

    def goal(self, y: Tensor) -> Tensor:
        """Returns the class each row is driven from (its label) or, targeted, to."""
        return y if self.target is None else torch.full_like(y, self.target)

    def threat(self, classifier: Classifier) -> Threat:
        """Returns what this attack may change on the inputs of `classifier`.

        Raises:
            ConfigurationError: If an eps in 255ths could mean two things for them, or the attack knows nothing of an
                eps or bounds that differ by coordinate.
        """
        refuse_grey_levels(self.eps, classifier.bounds)
        threat = Threat(norm=self.norm, eps=self.eps, bounds=classifier.bounds, target=self.target, levels=self.levels)
        if threat.per_coordinate and not self.per_coordinate:
            raise ConfigurationError(
                f"{self.label}: expected one eps and one range for all coordinates, all this attack can do, got"
                " arrays; use numbers, or another attack, such as pgd, apgd, fab or square"
            )
        layout = layout_taken(classifier.module)
        if layout is not None and layout_of(self.eps) != layout and threat.radius > 0:
            raise ConfigurationError(
                f"{self.label}: expected eps=data.layout.eps(...) for a model of several inputs, of which only"
                f" {layout.attacked.name} is attacked, got {eps_text(threat.eps)}; give that"
            )
        return threat

    def settings(self) -> dict[str, Scalar]:
        """Returns every field by name, resolved and JSON-ready."""
        return {
            field.name: value if isinstance(value := getattr(self, field.name), Scalar) else str(value)
            for field in dataclasses.fields(self)
            if field.name != "mask"  # which is part of eps
        }

    def __call__(
        self,
        model: Classifier | nn.Module | Callable[[Tensor], Any],
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        ids: Tensor | None = None,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> Adversarial:
        """Returns the best adversarial inputs found for a batch; the model is left exactly as it was.

        Args:
            model: A module, or a Classifier where inputs are not in 0..1 or the output is not plain logits.
            x: Clean inputs (N, ...) within the bounds.
            y: True labels (N,).
            target: Goals (N,) for a targeted attack.
            ids: Sample ids (N,) that fix the random numbers; the position by default.
            seed: Seed of the run.
            batch_size: Rows the model sees at once; all by default.

        Raises:
            ConfigurationError: If labels, targets or ids do not match `x`, or `batch_size` is not positive.
            InvalidEvaluation: If `x` leaves the bounds or a label or target is not a class.
            ThreatViolation: If the attack left its own threat, which is a bug.
        """
        classifier, seed = as_classifier(model), known_seed(self.name, seed)
        batch_size = None if batch_size is None else integer(self.name, "batch_size", batch_size)
        with classifier.frozen():
            x, goal, ids = self.read(classifier, x, y, target, ids)
            targeted = target is not None or self.targeted
            done = self.search(classifier, x, goal, ids, seed, batch_size or len(x), targeted, self.minimal)
        return Adversarial(
            x_adv=done.x_adv,
            success=done.broken,
            margin=done.margin,
            distance=self.threat(classifier).distance(done.x_adv, done.x),
            steps=done.steps,
        )

    def read(
        self, classifier: Classifier, x: Tensor, y: Tensor, target: Tensor | None, ids: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns accepted inputs, the goal of each row and its id; raises as a call does."""
        x = classifier.accept(x)
        classes = classifier.classes(x[:4])
        labels = as_labels(y, classes)
        goal = as_labels(self.goal(labels) if target is None else target, classes)
        ids = torch.arange(len(x), device="cpu") if ids is None else read_ids(ids, len(x))[0]
        if not len(x) == len(labels) == len(goal) == len(ids):
            raise ConfigurationError(
                f"{self.name}: expected as many labels, targets and ids as inputs, got {len(labels)}, {len(goal)} "
                f"and {len(ids)} for {len(x)} inputs; give one each"
            )
        return x, goal.to(classifier.device), ids.to(classifier.device)

    def search(
        self,
        classifier: Classifier,
        x: Tensor,
        goal: Tensor,
        ids: Tensor,
        seed: int,
        batch_size: int,
        targeted: bool,
        nearest: bool,
        *margins: Tensor,
    ) -> Rows:
        """Returns the finished rows in the order given, their points inside the threat; see `Engine.submit`."""
        engine = Engine(self, classifier, seed=seed, batch_size=batch_size, targeted=targeted, nearest=nearest)
        engine.submit(x, ids, goal, *margins)
        done = Rows.join(list(engine.run(drain=True)))
        done = done.take(done.position.argsort())
        self.threat(classifier).verify(done.x_adv, done.x, self.name)
        return done


def _has_steps(kind: type) -> bool:
    """Returns whether a class itself has a field `steps: int`."""
    if sys.version_info >= (3, 14):
        import annotationlib

        fields = annotationlib.get_annotations(kind, format=annotationlib.Format.FORWARDREF)
    else:
        fields = vars(kind).get("__annotations__", {})
    return fields.get("steps") in (int, "int")
