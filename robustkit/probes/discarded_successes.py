"""Watches every point an attack queries: no successful point may be discarded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from robustkit.attacks.base import Attack
from robustkit.attacks.names import attack_name
from robustkit.attacks.threat import Threat
from robustkit.checks.diagnostic import Diagnostic, check_name, diagnostic
from robustkit.model.classifier import Classifier

STEPS, QUERIES = 20, 100  # of an attack under observation, per start
_EDGE = 1 + 1e-5  # foreign attacks leave the ball by rounding; such points are projected and evaluated again


class SuccessRecorder(Classifier):
    """A classifier that records for each of a few samples the first point within the threat model that it got wrong.

    It knows nothing of the attack and its rows: which sample a point belongs to is told by the distance.

    Args:
        classifier: The model.
        threat: Around each sample.
        x: The samples (N, ...), accepted.
        y: Their labels (N,).
    """

    def __init__(self, classifier: Classifier, threat: Threat, x: Tensor, y: Tensor) -> None:
        self.__dict__.update(classifier.__dict__)
        self.threat, self.x, self.y = threat, x, y
        self.seen: dict[int, Tensor] = {}

    def logits(self, x: Tensor) -> Tensor:
        """Returns the logits, having looked at them."""
        logits = super().logits(x)
        predicted, points = logits.detach().argmax(1), x.detach().to(self.x)
        for number, (clean, label) in enumerate(zip(self.x, self.y, strict=True)):
            wrong = predicted == self.threat.target if self.threat.target is not None else predicted != label
            if number in self.seen or not bool(wrong.any()):
                continue
            found = points[wrong]
            near = self.threat.distance(found, clean.expand_as(found)) <= self.threat.radius * _EDGE
            if bool(near.any()):
                self.seen[number] = found[near][0]
        return logits


def discarded_successes(
    classifier: Classifier,
    attacks: Sequence[Attack],
    x: Tensor,
    y: Tensor,
    ids: Tensor,
    seed: int = 0,
    batch_size: int = 256,
) -> Diagnostic:
    """Returns Q17: whether an attack met an adversarial point and returned none.

    Pintor et al. 2022, arXiv 2106.09947, indicator 3. robustkit's engine keeps every success it is shown; a foreign
    attack shows it the last point only. Our own attacks are watched for the first 20 steps or 100 queries of a start.

    Args:
        classifier: The model.
        attacks: All of one threat.
        x: Accepted inputs (N, ...), right from the start; few, because every point is compared with each.
        y: Labels (N,) on the same device.
        ids: Sample ids (N,).
        seed: Of the attacks.
        batch_size: Rows the model sees at once.
    """
    limit = "every adversarial point found is returned"
    if classifier.draws > 1:
        why = f"a single EOT sample of a stochastic model proves nothing; see {check_name('Q05')}"
        return diagnostic("Q17", None, limit, "not run", why)
    dropped: dict[str, int] = {}
    met = 0
    for attack in attacks:
        threat = attack.threat(classifier)
        recorder = SuccessRecorder(classifier, threat, x, y)
        found = shortened(attack, STEPS, QUERIES)(recorder, x, y, ids=ids, seed=seed, batch_size=batch_size)
        met += len(recorder.seen)
        lost = [number for number in recorder.seen if not bool(found.success[number])]
        if lost and (sure := _confirmed(classifier, threat, x[lost], y[lost], [recorder.seen[i] for i in lost])):
            dropped[attack_name(attack.label)] = sure
    count = sum(dropped.values())
    if not count:
        message = f"{len(attacks)} attacks on {len(x)} samples: {met} successes, all returned"
        return diagnostic("Q17", 0, limit, "pass", message)
    who = ", ".join(f"{label} ({number})" for label, number in dropped.items())
    message = f"of {len(x)} samples, successes discarded: {who}; use pgd or apgd, which keep the best point"
    return diagnostic("Q17", count, limit, "fail", f"{message}, or restarts=5")


def shortened(attack: Attack, steps: int, queries: int) -> Attack:
    """Returns the attack with at most so many steps or queries, where those are settings of its own."""
    names = {field.name for field in dataclasses.fields(attack)}
    most = {"steps": steps, "queries": queries, "targets": 2, "restarts": 2}
    return dataclasses.replace(
        attack, **{name: min(getattr(attack, name), limit) for name, limit in most.items() if name in names}
    )


def _confirmed(classifier: Classifier, threat: Threat, x: Tensor, y: Tensor, points: list[Tensor]) -> int:
    """Returns how many of the points are adversarial in a fresh pass once they are exactly inside the threat."""
    with classifier.frozen(), torch.no_grad():
        inside = threat.project(torch.stack(points).to(x), x, *threat.limits(x))
        predicted = classifier.logits(threat.snap(inside, x)).argmax(1)
    return int((predicted == threat.target if threat.target is not None else predicted != y).sum())
