"""Where the outcome of a sample is decided: by the model's own answer to a point, whoever found it."""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.attacks.fit_memory import Splitter
from robustkit.attacks.rows import Problem, Rows
from robustkit.attacks.threat import Threat
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier


class Judge:
    """Classifies points; where the model is random, by the mean over EOT samples, the same for the same sample.

    Args:
        classifier: The model, inside its `frozen()` context when it is asked.
        threat: What the points lie in.
        seed: Of the evaluation.
        batch_size: Rows the model sees at once; halved when memory runs out.
    """

    def __init__(self, classifier: Classifier, threat: Threat, seed: int, batch_size: int) -> None:
        self.problem = Problem(classifier, threat, Stream(seed, "verdict"), eot=classifier.draws)
        self.split = Splitter(batch_size)

    def __call__(self, x: Tensor, ids: Tensor) -> Tensor:
        """Returns float64 logits (N, K) of `x` (N, ...), of the mean probabilities where EOT samples are averaged.

        Args:
            x: Points, on the device of the model.
            ids: The samples they belong to (N,), on the same device.
        """
        zero = torch.zeros_like(ids)
        rows = Rows(x=x, ids=ids, restart=zero, step=zero)
        return self.split(lambda part: Rows(logits=self.problem.logits(part, part.x)), rows).logits.double()

    def broken(self, logits: Tensor, y: Tensor) -> Tensor:
        """Returns which answers reach the goal of the threat: another class than `y` (N,), or its target."""
        predicted, target = logits.argmax(1), self.problem.threat.target
        return predicted != y if target is None else predicted == target
