"""The attacks of an evaluation: what they share, what they are called, and what each of them costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from robustkit.attacks.base import Attack
from robustkit.attacks.threat import Threat
from robustkit.base.errors import ConfigurationError
from robustkit.maths.exact_sums import ExactSums
from robustkit.model.classifier import Classifier


@dataclass
class AttackRun:
    """What one attack cost, the fresh pass over its results included, and what that pass did not confirm.

    `path` holds the sums over `rows` samples of which `loss_path` gives the means.
    """

    attack: Attack
    label: str
    forwards: int = 0
    backwards: int = 0
    zero_gradients: int = 0
    nonfinite_gradients: int = 0
    seconds: float = 0.0
    rechecked_changes: int = 0
    loss_path: tuple[float, ...] = ()
    path: ExactSums | None = None
    rows: int = 0

    @property
    def group(self) -> str:
        """The kind of the attack, `single` for a white-box attack of one step, `black-box` for a hybrid.

        A hybrid begins with a random search, so that what it alone breaks says what a black-box attack's says.
        """
        single = self.attack.kind == "white-box" and self.attack.steps_per_start == 0
        return "single" if single else "black-box" if self.attack.kind == "hybrid" else self.attack.kind


class Cost:
    """What an attack spends between construction and `book`."""

    def __init__(self, classifier: Classifier, run: AttackRun) -> None:
        self.tally, self.run = classifier.tally, run
        self.before, self.start = self._counts(), time.perf_counter()

    def _counts(self) -> list[int]:
        tally = self.tally
        return [tally.forwards, tally.backwards, int(tally.zero_gradients), int(tally.nonfinite_gradients)]

    def book(self) -> None:
        """Adds it to the run."""
        forwards, backwards, zero, bad = (now - then for now, then in zip(self._counts(), self.before, strict=True))
        self.run.forwards += forwards
        self.run.backwards += backwards
        self.run.zero_gradients += zero
        self.run.nonfinite_gradients += bad
        self.run.seconds += time.perf_counter() - self.start


def common_threat(attacks: Sequence[Attack], classifier: Classifier) -> Threat:
    """Returns the threat all attacks share.

    Raises:
        ConfigurationError: If there is none.
    """
    if not attacks:
        raise ConfigurationError("evaluate: expected at least one attack, got none; for example PGD(eps='8/255')")
    if attacks[0].close is not None:
        raise ConfigurationError(
            f"evaluate: expected an attack before {attacks[0].label} that tells which samples are close, got none; put"
            " one there, or leave close out"
        )
    first, *others = (attack.threat(classifier) for attack in attacks)
    for other in others:
        if (other.norm, other.each, other.target) != (first.norm, first.each, first.target):
            raise ConfigurationError(
                f"evaluate: expected attacks of one threat, got {first.norm} {first.eps} and {other.norm} {other.eps}"
                f" (targets {first.target} and {other.target}); evaluate each threat by itself"
            )
    return first
