"""Any attack of foolbox, through robustkit's evaluator and ledger."""

from __future__ import annotations

import difflib
import inspect
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from robustkit.attacks.base import Attack
from robustkit.attacks.rows import Problem, Rows
from robustkit.base.errors import ConfigurationError, RobustkitError, one_line
from robustkit.base.per_coordinate import one_range
from robustkit.base.settings import Scalar, every, instance, wrong
from robustkit.maths.norms import Norm
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier

_NORMS: dict[float, Norm] = {float("inf"): "Linf", 2: "L2", 1: "L1"}


@dataclass(frozen=True, kw_only=True)
class Foolbox(Attack):
    """A foolbox attack by class name, its result projected exactly into the threat and judged by robustkit.

    Rauber et al. 2017, arXiv 1707.04131; Rauber et al. 2020, JOSS 5(53). The class must exist in `foolbox.attacks`
    and its own norm must be `norm`. foolbox draws from global generators for a whole batch at once; an attack that
    is seen to draw is therefore run on one row at a time, seeded by (seed, id, restart), so that robustkit's promise
    (nothing depends on batch or order) holds, at the price of speed. The global generators are left as they were.

    Attributes:
        attack: Class name, for example "LinfDeepFoolAttack".
        options: Arguments of its constructor as (name, value) pairs.
    """

    attack: str
    options: tuple[tuple[str, Scalar], ...] = ()

    name: ClassVar[str] = "foolbox"
    kind: ClassVar[str] = "adapter"
    source: ClassVar[str] = "Rauber et al. 2017, arXiv 1707.04131"

    def __post_init__(self) -> None:
        super().__post_init__()
        instance(self.name, "attack", self.attack, str)
        every(self.name, "options", self.options, tuple)
        if odd := [pair for pair in self.options if len(pair) != 2]:
            raise wrong(self.name, "options", odd[0], "pairs (name, value)")
        built = self._build()
        try:
            own = _NORMS[built.distance.p]
        except (AttributeError, KeyError, ValueError):
            raise ConfigurationError(
                f"foolbox {self.attack}: expected an attack that measures Linf, L2 or L1, got one that does not; "
                "choose another"
            ) from None
        if own != self.norm:
            raise ConfigurationError(f"foolbox {self.attack}: expected norm {own}, got {self.norm}; say norm={own}")

    @property
    def label(self) -> str:
        """Its name and the class."""
        return f"{self.name}:{self.attack}"

    def settings(self) -> dict[str, Scalar]:
        """Returns our fields and every argument of the foolbox attack, defaults included."""
        built = self._build()
        own = {
            name: value if isinstance(value := getattr(built, name, None), Scalar) else type(value).__name__
            for name in inspect.signature(type(built)).parameters
        }
        rest = {name: value for name, value in super().settings().items() if name != "options"}
        return {**rest, **own}

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Runs the foolbox attack and proposes what it found."""
        keys = [f"{i}/{r}" for i, r in zip(rows.ids.tolist(), rows.restart.tolist(), strict=True)]
        points, drew = first, _ = self._run(problem, rows.take(slice(0, 1)), keys[0])
        if not drew and len(rows) > 1:
            points, drew = self._run(problem, rows, keys[0])
        if drew:
            rest = [self._run(problem, rows.take(slice(i, i + 1)), keys[i])[0] for i in range(1, len(rows))]
            points = torch.cat([first, *rest])
        return rows.having(x_adv=problem.threat.project(points, rows.x, rows.lower, rows.upper))

    def _build(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # foolbox imports old names of scipy
            import foolbox.attacks

        kind = getattr(foolbox.attacks, self.attack, None)
        if not inspect.isclass(kind):
            names = [name for name in dir(foolbox.attacks) if inspect.isclass(getattr(foolbox.attacks, name))]
            near = difflib.get_close_matches(self.attack, names, n=1)
            raise ConfigurationError(
                f"foolbox: expected an attack class of foolbox.attacks, got {self.attack!r}"
                + (f"; did you mean '{near[0]}'?" if near else "; see foolbox's documentation for the list")
            )
        options = dict(self.options)
        if "abort_early" in inspect.signature(kind).parameters:
            # It looks at the loss of the whole batch, so that a row's result would depend on the batch composition.
            options.setdefault("abort_early", False)
        try:
            return kind(**options)
        except (TypeError, ModuleNotFoundError) as error:
            raise ConfigurationError(
                f"foolbox {self.attack}: expected settings it has, got {one_line(error)}; correct them"
            ) from None

    def _run(self, problem: Problem, rows: Rows, key: str) -> tuple[Tensor, bool]:
        """Returns foolbox's points for `rows` and whether it drew random numbers."""
        import foolbox.criteria
        from foolbox.models.pytorch import PyTorchModel

        device = problem.classifier.device
        seed = Stream(problem.stream.seed, f"foolbox/{self.attack}/{key}").number
        numpy_state = np.random.get_state()  # noqa: NPY002 - foolbox draws from the legacy generator
        with (
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            # Not torch.manual_seed: it would also reseed every other GPU.
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            before = _random_state(device)
            model = PyTorchModel(
                _Logits(problem.classifier), one_range(self.label, problem.classifier.bounds), device=device
            )
            goal = (
                foolbox.criteria.TargetedMisclassification if problem.targeted else foolbox.criteria.Misclassification
            )
            try:
                _, points, _ = self._build()(model, rows.x, goal(rows.goal), epsilons=problem.threat.radius)
            except ValueError as error:
                if isinstance(error, RobustkitError):
                    raise
                raise ConfigurationError(f"foolbox {self.attack}: {error}") from error
            finally:
                drew = before != _random_state(device)
                np.random.set_state(numpy_state)  # noqa: NPY002
        return points.detach(), drew


def _random_state(device: torch.device) -> tuple[bytes, ...]:
    state = [torch.get_rng_state().numpy().tobytes(), np.random.get_state(legacy=False)["state"]["key"].tobytes()]  # noqa: NPY002
    state.append(str(np.random.get_state(legacy=False)["state"]["pos"]).encode())  # noqa: NPY002
    if device.type == "cuda":
        state.append(torch.cuda.get_rng_state(device).numpy().tobytes())
    return tuple(state)


class _Logits(nn.Module):
    """The classifier as foolbox wants it: a module from inputs to logits, every pass counted."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            x.register_hook(self._count)  # type: ignore[no-untyped-call]
        return self.classifier.logits(x)

    def _count(self, grad: Tensor) -> None:
        self.classifier.tally.backwards += len(grad)
