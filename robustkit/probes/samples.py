"""A few samples of an evaluation with what it found on them, for probes afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from robustkit.attacks.base import Attack
from robustkit.attacks.radius import unit_of
from robustkit.attacks.threat import STORED, Threat
from robustkit.base.settings import plain
from robustkit.checks.diagnostic import Diagnostic, diagnostic
from robustkit.data.dataset import Batch
from robustkit.defenses.training.checkpoint import Facts, Tensors
from robustkit.evaluation.curve import Curve
from robustkit.maths.intervals import proportion
from robustkit.model.classifier import Classifier


@dataclass(frozen=True)
class Subset:
    """The samples and what the evaluation found on them; tensors have one row per sample.

    Attributes:
        classifier: The model, frozen.
        threat: Of the evaluation.
        attacks: Of the evaluation.
        broken: How many samples of the whole evaluation each attack broke.
        x: Accepted inputs.
        y: Labels.
        ids: Sample ids, on the CPU.
        right: Whether they are right without an attack.
        unbroken: Whether they are right and no attack reached its goal.
        predicted: All classes that the model answers on clean samples of the evaluation.
        seed: Of the evaluation.
        batch_size: Rows the model sees at once.
    """

    classifier: Classifier
    threat: Threat
    attacks: tuple[Attack, ...]
    broken: tuple[int, ...]
    x: Tensor
    y: Tensor
    ids: Tensor
    right: Tensor
    unbroken: Tensor
    predicted: frozenset[int]
    seed: int
    batch_size: int

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Tensor) -> Subset:
        """Returns the samples at `rows`, a mask or positions."""
        ids = self.ids[rows.cpu()]
        kept = {name: getattr(self, name)[rows] for name in ("x", "y", "right", "unbroken")}
        return replace(self, ids=ids, **kept)

    def first(self, count: int) -> Subset:
        """Returns at most so many samples."""
        return self.take(torch.arange(min(count, len(self)), device=self.x.device))

    @property
    def batch(self) -> Batch:
        """The samples alone."""
        return Batch(self.x, self.y, self.ids)

    @property
    def strong(self) -> list[Attack]:
        """The attacks that follow a gradient for several steps within the ball, those that broke most first."""
        chosen = [
            (-broken, place)
            for place, (attack, broken) in enumerate(zip(self.attacks, self.broken, strict=True))
            if attack.kind == "white-box" and attack.steps_per_start and not attack.minimal
        ]
        return [self.attacks[place] for _, place in sorted(chosen)]

    @property
    def fixed(self) -> bool:
        """Whether the attacker may not change some values at all."""
        return bool((self.threat.weight(self.x) == 0).any())

    @property
    def around(self) -> Threat:
        """Where loss and gradient are looked at: the threat, or for L0, which has no ball, Linf 8/255 of the range."""
        if not self.threat.sparse:
            return self.threat
        low, high = self.threat.range
        eps = 8 / (STORED - 1) * (high - low if math.isfinite(high - low) else 1.0)
        each = self.threat.weight(self.x[:1])[0] * eps if self.fixed else eps
        return replace(self.threat, norm="Linf", eps=each)

    @property
    def common(self) -> dict[str, Any]:
        """The settings that the probes' attacks share with those of the evaluation."""
        threat = self.threat
        eot = max(attack.eot for attack in self.attacks)
        return {"norm": threat.norm, "eps": threat.eps, "target": threat.target, "levels": threat.levels, "eot": eot}

    def attack(self, attack: Attack) -> Tensor:
        """Returns which samples an attack brings to its goal."""
        if not len(self):
            return self.right
        found = attack(self.classifier, self.x, self.y, ids=self.ids, seed=self.seed, batch_size=self.batch_size)
        return found.success


@dataclass(frozen=True)
class Outcome:
    """What a probe found: checks, and a curve where it draws one."""

    found: tuple[Diagnostic, ...] = ()
    curve: Curve | None = None

    def packed(self) -> tuple[Tensors, Facts]:
        """Returns it as plain tensors and facts."""
        facts: Facts = {"found": [vars(item) | {"value": plain(item.value)} for item in self.found]}
        if self.curve is None:
            return {}, facts
        curve = self.curve
        facts["curve"] = {"norm": curve.norm, "radii": curve.radii, "label": curve.label}
        facts["right"] = [share.k for share in curve.accuracy]
        return {"broken_at": torch.from_numpy(curve.broken_at), "ids": torch.from_numpy(curve.ids)}, facts

    @classmethod
    def unpacked(cls, tensors: Tensors, facts: Facts, threat: Threat) -> Outcome:
        """Returns what was `packed`, of an evaluation within `threat`."""
        found = tuple(Diagnostic(**item) for item in facts["found"])
        if "curve" not in facts:
            return cls(found)
        ids = tensors["ids"].numpy()
        named = facts["curve"] | {"radii": tuple(facts["curve"]["radii"]), "unit": unit_of(threat.eps)}
        accuracy = tuple(proportion(k, len(ids)) for k in facts["right"])
        return cls(found, Curve(accuracy=accuracy, broken_at=tensors["broken_at"].numpy(), ids=ids, **named))


def not_run(ids: tuple[str, ...], why: str) -> Outcome:
    """Returns that the checks `ids` could not be made."""
    return Outcome(tuple(diagnostic(id, None, "", "not run", why) for id in ids))
