"""Planted adversarial examples: problems that an attack must solve, because a solution was put there.

Zimmermann, Brendel, Tramer & Carlini 2022, arXiv 2206.13991 (the binarization test). Around each of a few samples the
last layer is replaced by a linear readout that tells one known point on the surface of the threat's ball (class 1) from
many points inside it (class 0, the sample among them). An adversarial input is then known to exist, and an attack that
does not find it is too weak for this model, or the model hides its gradient.

Deviations:
- The authors draw 999 inner points, fit without regularisation and put the decision boundary 0.999 of the way to the
  planted point, which PGD with 40 steps fails on ordinary networks. We draw 99, regularise and go 0.75 of the way.
- Where the last layer cannot be told, or something follows it, the readout reads the logits.
- Where no readout parts a point from all the others, another point is tried, then half as many others.
- The model's other classes stay, out of reach, so that every attack that runs on the model runs here. An attack with a
  target aims at class 1. The scores have the size of the model's own.
- L1 is ours. Models that draw random numbers are read once, not averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from robustkit.attacks.base import Attack
from robustkit.attacks.names import labels
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.checks.diagnostic import Diagnostic, Status, diagnostic
from robustkit.data.labels import as_labels
from robustkit.evaluation.attack_run import common_threat
from robustkit.maths.intervals import Proportion, proportion
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.probes.planting import LEAST, MOST, plant

PASS = 0.95  # share of the planted problems that the attacks must solve
LUCK = 0.5  # share that random search may solve before the problems prove nothing


@dataclass(frozen=True)
class Trial:
    """What became of one sample.

    Attributes:
        id: Of the sample.
        inner: How many points the readout parts from the planted one, and how many random search tried; 0 where
            nothing could be planted.
        found: For each attack whether it found class 1.
        lucky: Whether random search did.
    """

    id: int
    inner: int
    found: tuple[bool, ...] = ()
    lucky: bool = False


@dataclass(frozen=True)
class Planted:
    """The trials of one model under one or more attacks; every figure follows from them.

    Attributes:
        attacks: Labels, in the order of `Trial.found`.
        trials: One per sample.
    """

    attacks: tuple[str, ...]
    trials: tuple[Trial, ...]

    @property
    def solvable(self) -> tuple[Trial, ...]:
        """Trials in which an adversarial input is known to exist."""
        return tuple(trial for trial in self.trials if trial.inner)

    @property
    def success(self) -> Proportion:
        """Share of the solvable trials that at least one attack solved."""
        return self._share([any(trial.found) for trial in self.solvable])

    @property
    def by_attack(self) -> dict[str, Proportion]:
        """Share of the solvable trials that each attack solved."""
        return {
            label: self._share([trial.found[place] for trial in self.solvable])
            for place, label in enumerate(self.attacks)
        }

    @property
    def random(self) -> Proportion:
        """Share of the solvable trials that as many uniform random points as there were inner ones solved."""
        return self._share([trial.lucky for trial in self.solvable])

    @property
    def verdict(self) -> Status:
        """Pass, fail, or "not run" where nothing could be planted.

        A remark where luck does as well, or where too few were solved to pass but chance may be the reason: the limit
        lies within the exact 95 % interval.
        """
        if self.success.value is None or self.random.value is None:
            return "not run"
        if self.success.clopper_pearson[1] < PASS:
            return "fail"
        return "pass" if self.random.value <= LUCK and self.success.value >= PASS else "remark"

    @property
    def diagnostic(self) -> Diagnostic:
        """The check Q20."""
        hit, luck = self.success, self.random
        message = f"{hit.k} of {hit.n} planted adversarial examples found, {luck.k} by random search"
        if missing := len(self.trials) - hit.n:
            message += f"; nothing could be planted around {missing} of {len(self.trials)} samples"
        if hit.value is not None and hit.value < PASS:
            message += "; the attack is too weak or the gradient is masked: use loss=margin, steps=200, or Square"
        elif self.verdict == "remark":
            message += "; too easy to be conclusive: test with a smaller eps"
        limit = f"at least {PASS:g}, and at most {LUCK:g} by random search"
        return diagnostic("Q20", hit.value, limit, self.verdict, message)

    def _share(self, hits: list[bool]) -> Proportion:
        return proportion(sum(hits), len(hits))


def planted(
    classifier: Classifier | nn.Module | Callable[[Tensor], Any],
    x: Tensor,
    y: Tensor,
    attack_or_attacks: Attack | Sequence[Attack],
    samples: int = 12,
    seed: int = 0,
    ids: Tensor | None = None,
    inner: int = 99,
    batch_size: int = 256,
) -> Planted:
    """Returns how often the attacks find an adversarial input that is known to exist; the model is left as it was.

    The problems are solved one by one, because each has a model of its own.

    Args:
        classifier: The model; a bare module takes inputs in 0..1 and returns class scores.
        x: Inputs (N, ...) within the bounds.
        y: Labels (N,): as in an audit, samples that are wrong from the start are passed over.
        attack_or_attacks: One or more attacks of one and the same threat, with eps > 0.
        samples: How many samples to plant in, the first that are right.
        seed: Of all random numbers; those of a sample depend on its id and on nothing else.
        ids: Sample ids (N,); the position by default.
        inner: How many inner points to draw, 15 to 4095; more make harder problems.
        batch_size: Rows the model sees at once.

    Raises:
        ConfigurationError: If the attacks do not share one threat, its eps is 0, or a number is out of range.
        InvalidEvaluation: If no sample is initially correct, or the output is cut off from the input.
    """
    classifier = as_classifier(classifier)
    attacks = [attack_or_attacks] if isinstance(attack_or_attacks, Attack) else list(attack_or_attacks)
    threat = common_threat(attacks, classifier)
    if threat.radius == 0 or samples < 1 or not LEAST <= inner <= MOST:
        raise ConfigurationError(
            f"planted: expected eps > 0, samples >= 1 and inner within {LEAST}..{MOST}, got eps {threat.eps}, samples "
            f"{samples} and inner {inner}; correct them"
        )
    names = tuple(labels(attacks))
    attacks = [replace(attack, target=1) if attack.targeted else attack for attack in attacks]
    ids = torch.arange(len(x), device="cpu") if ids is None else ids
    trials: list[Trial] = []
    with classifier.frozen(), torch.no_grad():
        for row in range(len(x)):
            clean, id = classifier.accept(x[row : row + 1]), int(ids[row])
            logits = classifier.logits(clean)
            if int(logits.argmax()) != int(as_labels(y[row : row + 1], logits.shape[1])):
                continue
            problem = plant(classifier, clean, id, threat, inner, seed, batch_size)
            trials.append(Trial(id, 0))
            if problem is not None:
                zero, key = torch.zeros(1, dtype=torch.int64, device="cpu"), torch.tensor([id], device="cpu")
                found = [bool(a(problem.classifier, clean, zero, ids=key, seed=seed).success) for a in attacks]
                trials[-1] = Trial(id, problem.inner, tuple(found), problem.luck(seed, batch_size))
            if len(trials) == samples:
                break
    if not trials:
        raise InvalidEvaluation(
            f"planted: expected correctly classified samples, got none of {len(x)}; check labels, mean and std"
        )
    return Planted(names, tuple(trials))
