"""What an evaluation would cost, from a short one of the same kind."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustkit.attacks.protocols import Protocol
from robustkit.data.dataset import Dataset
from robustkit.evaluator import evaluate
from robustkit.maths.intervals import Proportion
from robustkit.model.classifier import Classifier


@dataclass(frozen=True)
class Probe:
    """What so many samples cost; attacks spend most on samples they do not break, so more robust models cost more.

    Attributes:
        n: Samples that went through the clean pass and every attack.
        forwards: Rows passed forward by the attacks.
        backwards: Rows passed backward.
        seconds: In all, with everything that happens once.
        robust: Those that no attack broke; a first idea of the accuracy to plan with.
    """

    n: int
    forwards: int
    backwards: int
    seconds: float
    robust: Proportion

    def forecast(self, n: int) -> tuple[int, int, float]:
        """Returns forward passes, backward passes and seconds of `n` samples, in proportion."""
        return (
            math.ceil(self.forwards / self.n * n),
            math.ceil(self.backwards / self.n * n),
            self.seconds / self.n * n,
        )


def probe(
    classifier: Classifier,
    dataset: Dataset,
    protocol: Protocol,
    *,
    seconds: float,
    batch_size: int = 256,
    seed: int = 0,
) -> Probe:
    """Returns what a random part of the data costs: 16 samples, then more as long as they fit into the time.

    Args:
        classifier: The model.
        dataset: Where the samples come from.
        protocol: The attacks, run to the end.
        seconds: About how long to try; the first 16 samples are finished whatever they take.
        batch_size: Rows the model sees at once.
        seed: Of all random numbers.

    Raises:
        InvalidEvaluation: If the doctor refuses data or model.
    """
    found = evaluate(classifier, dataset, protocol, batch_size=batch_size, seed=seed, budget=seconds, examples=0)
    forwards, backwards = (sum(getattr(run, what) for run in found.runs) for what in ("forwards", "backwards"))
    return Probe(len(found.ledger), forwards, backwards, found.seconds, found.robust_accuracy)
