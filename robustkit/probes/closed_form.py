"""Models whose minimal adversarial perturbation is a formula, and what an attack finds on them.

A linear model's boundary towards class k lies (z_y - z_k) / |w_y - w_k| from the input, in the norm dual to the
attack's: L1 for Linf, L2 for L2, Linf for L1 (Moosavi-Dezfooli et al. 2016, arXiv 1511.04599, section 3). So it is
known without any attack where something is to be found and where nothing is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from robustkit.attacks import ATTACKS, Attack
from robustkit.attacks.threat import parse_eps
from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import choice, instance
from robustkit.base.settings import seed as known_seed
from robustkit.checks.diagnostic import Status
from robustkit.maths.intervals import Proportion, proportion
from robustkit.maths.norms import NORMS, Norm
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier

INSIDE = 0.999  # eps in units of the exact distance: nothing can be found here
OUTSIDE = 1.02  # and here everything can
SEARCH = 2.0  # random search comes near the boundary, but takes for ever over the last percent
FEATURES = 20
ROWS = 8
DUAL = {"Linf": 1.0, "L2": 2.0, "L1": math.inf}
_FOOLBOX = {"Linf": "LinfDeepFoolAttack", "L2": "L2DeepFoolAttack", "L1": "L1FMNAttack"}
_SPREAD = 30.0  # logits between the second and the third class, so that cross entropy sees the two of them only
_ROOM = 1000.0  # width of the input range in distances: enough for every point to lie well inside


@dataclass(frozen=True)
class ClosedForm:
    """A model and inputs that all have the same, known distance to the nearest decision boundary.

    Attributes:
        classifier: The model, in float64.
        x: Inputs (8, 20).
        y: Their labels, which the model has right.
    """

    classifier: Classifier
    x: Tensor
    y: Tensor


def nearest(weight: Tensor, x: Tensor, norm: Norm) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the predictions y (N,) of the linear model z = x W^T and the distances to all boundaries, with the gaps.

    Distances and gaps z_y - z_k have the shape (N, K) and are infinite for k = y.

    Args:
        weight: Shape (K, d).
        x: Inputs (N, d), without an input range.
        norm: In which distances are measured.
    """
    z = x @ weight.T
    y = z.argmax(dim=1)
    slopes = torch.linalg.vector_norm(weight[y].unsqueeze(1) - weight, DUAL[norm], dim=2)
    own = torch.nn.functional.one_hot(y, len(weight)).bool()
    gaps = (z.gather(1, y.unsqueeze(1)) - z).masked_fill(own, math.inf)
    return y, gaps / slopes.masked_fill(own, 1.0), gaps


def open_space(norm: Norm, distance: float, classes: int, seed: int = 0) -> ClosedForm:
    """Returns a linear model of `classes` classes with inputs at `distance` from its boundary, none near its bounds.

    With more than two classes, inputs are taken whose runner-up stays the runner-up wherever the attack may go, so that
    no gradient can lead away from the nearest boundary.

    Args:
        norm: In which the distance is measured.
        distance: Of every input, > 0.
        classes: At least 2.
        seed: Of weights and inputs.
    """
    stream = Stream(seed, f"closed form/{norm}/{classes}")
    weight = _normal(stream, classes, 0)
    x = _normal(stream, 500 * ROWS, 1)
    y, distances, gaps = nearest(weight, x, norm)
    clear = _runner_up_stays(weight, y, distances, gaps, norm)
    x, y, distances, gaps = x[clear], y[clear], distances[clear], gaps[clear]
    # Without a bias, distances grow with x; the largest ones ask for the least stretching.
    far = distances.amin(1).topk(ROWS).indices
    stretch = distance / distances[far].amin(1, keepdim=True)
    if classes > 2:
        second = (gaps[far] * stretch).topk(2, dim=1, largest=False).values
        weight = weight * (_SPREAD / (second[:, 1] - second[:, 0]).min())
    room = _ROOM * distance
    return ClosedForm(_classifier(weight, (-room, room)), stretch * x[far], y[far])


def _runner_up_stays(weight: Tensor, y: Tensor, distances: Tensor, gaps: Tensor, norm: Norm) -> Tensor:
    """Returns the rows whose runner-up is ahead of all other wrong classes as far as just beyond the boundary."""
    rival = gaps.argmin(dim=1)
    rivals = torch.linalg.vector_norm(weight[rival].unsqueeze(1) - weight, DUAL[norm], dim=2)
    radius = OUTSIDE * distances.gather(1, rival.unsqueeze(1))
    lead = gaps - gaps.gather(1, rival.unsqueeze(1))
    one_of_the_two = torch.nn.functional.one_hot(torch.stack([y, rival]), len(weight)).sum(0).bool()
    clear: Tensor = ((lead > radius * rivals) | one_of_the_two).all(dim=1)
    return clear


def at_the_input_range(distance: float, seed: int = 0) -> ClosedForm:
    """Returns a linear two-class model with inputs at `distance` in Linf, a quarter of the moves out of bounds.

    Blocked coordinates already are where an attacker would push them, so only the others count: the distance is
    (z_y - z_k) / |the others' part of w_y - w_k|, in L1.

    Args:
        distance: Of every input, > 0.
        seed: Of weights and inputs.
    """
    stream = Stream(seed, "closed form/cornered")
    weight = _normal(stream, 2, 0)
    y = torch.arange(ROWS, device="cpu") % 2
    slope = weight[y] - weight[1 - y]  # (N, d), the gap z_y - z_k is slope . x
    share = _uniform(stream, ROWS, 1)
    # Mostly coordinates of little weight, so that the others can make up for them without meeting the input range.
    blocked = (share * slope.abs()).argsort(dim=1).argsort(dim=1) < FEATURES // 4
    edge = 8 * distance
    x = torch.where(blocked, -edge * slope.sign(), 0.0)
    free = slope.abs() * ~blocked
    weights = free * (1 + share / 2)
    missing = distance * free.sum(1, keepdim=True) - (slope * x).sum(1, keepdim=True)
    x = x + slope.sign() * weights / slope.abs() * missing / weights.sum(1, keepdim=True)
    return ClosedForm(_classifier(weight, (-edge, edge)), x, y)


@dataclass(frozen=True)
class Finding:
    """What one attack found where the answer is known.

    Attributes:
        attack: The attack.
        reach: Its eps in units of the exact distance when it had to succeed.
        outside: Successes there, where all inputs can be broken.
        inside: Successes at 0.999 times the exact distance, where none can.
    """

    attack: Attack
    reach: float
    outside: Proportion
    inside: Proportion

    @property
    def required(self) -> bool:
        """Whether the attack must find what is outside: all but the controls, which serve as a baseline."""
        return self.attack.kind != "control"

    @property
    def verdict(self) -> Status:
        """Fail where something impossible was found, or something possible was not."""
        return "fail" if self.inside.k or (self.required and self.outside.k < self.outside.n) else "pass"


def check_attack(attack: Attack, seed: int = 0) -> Finding:
    """Returns what `attack` finds, just as it is configured, on linear models that fit its norm and its eps.

    White-box attacks and those of foolbox must succeed at 1.02 times the exact distance, black-box attacks at twice it.

    Args:
        attack: An attack with eps > 0; a target is left out.
        seed: Of models, inputs and the attack.

    Raises:
        ConfigurationError: If eps is 0, or the norm none of Linf, L2 and L1.
    """
    instance("check_attack", "attack", attack, Attack)
    choice("check_attack", "the norm of the attack", attack.norm, NORMS)
    seed = known_seed("check_attack", seed)
    attack = replace(attack, target=None)
    reach = SEARCH if attack.kind == "black-box" else OUTSIDE
    outside, inside = (_successes(attack, share, seed) for share in (reach, INSIDE))
    return Finding(attack, reach, outside, inside)


def typical_attacks() -> list[Attack]:
    """Returns every attack in every norm it knows, with settings that pass `check_attack` in little time.

    Transfer is left out: what it finds depends on its surrogate.
    """
    return [
        ATTACKS[name](norm=norm, **settings)
        for norm in NORMS
        for name in ATTACKS
        if norm in ATTACKS[name].norms
        for settings in _settings(name, norm)
    ]


def _settings(name: str, norm: Norm) -> list[dict[str, Any]]:
    known: dict[str, list[dict[str, Any]]] = {
        "apgd": [{"steps": 30}, {"steps": 30, "loss": "dlr", "targets": 2}],
        "foolbox": [{"attack": _FOOLBOX[norm]}],
        "pgd": [{"restarts": 5}],  # a fixed step does not lead to the last percent from every start
        "fab": [{"steps": 30}, {"steps": 30, "targets": 2}],
        "square": [{"queries": 100, "restarts": 3}],
        "transfer": [],
    }
    return known.get(name, [{}])


def _successes(attack: Attack, share: float, seed: int) -> Proportion:
    distance = parse_eps(attack.eps) / share
    if not distance:
        raise ConfigurationError(f"check_attack: expected an attack with eps > 0, got {attack!r}; correct it")
    problems = [open_space(attack.norm, distance, 5, seed)]
    if getattr(attack, "loss", None) != "dlr":  # a loss that does not exist with two classes
        problems.append(
            at_the_input_range(distance, seed) if attack.norm == "Linf" else open_space(attack.norm, distance, 2, seed)
        )
    decimal = replace(attack, eps=repr(parse_eps(attack.eps)))  # the problems have input ranges of their own
    found = torch.cat([decimal(p.classifier, p.x, p.y, seed=seed).success for p in problems])
    return proportion(int(found.sum()), len(found))


def _classifier(weight: Tensor, bounds: tuple[float, float]) -> Classifier:
    # On no device, because drawing weights would move the global generator.
    layer = nn.Linear(weight.shape[1], len(weight), bias=False, device="meta", dtype=weight.dtype)
    layer.weight = nn.Parameter(weight)
    return Classifier(layer, bounds=bounds, output="logits")


def _normal(stream: Stream, rows: int, step: int) -> Tensor:
    ids = torch.arange(rows, device="cpu")
    return stream.normal((FEATURES,), ids, torch.zeros_like(ids), torch.full_like(ids, step))


def _uniform(stream: Stream, rows: int, step: int) -> Tensor:
    ids = torch.arange(rows, device="cpu")
    return stream.uniform((FEATURES,), ids, torch.zeros_like(ids), torch.full_like(ids, step))
