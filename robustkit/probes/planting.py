"""How one adversarial example is planted: points, their features, and a readout that separates them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from robustkit.attacks.radius import resized
from robustkit.attacks.threat import Threat
from robustkit.maths.norms import per_row
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier

GAP = 0.05  # inner points stay this share of eps away from the surface; so do the authors'
CLOSENESS = 0.75  # how near to the planted point, on the way from the inner ones, the decision boundary lies
CANDIDATES = 8  # surface points to try before half of the inner points are given up
LEAST, MOST = 15, 4095  # inner points: fewer make no problem, more have no random numbers


@dataclass(frozen=True)
class Problem:
    """A model with a planted adversarial example.

    Attributes:
        classifier: Takes the model's inputs; class 0 is right, class 1 is planted, the others are out of reach.
        x: The sample (1, ...), which is of class 0.
        x_adv: A point (1, ...) of the threat, which is of class 1.
        inner: How many other points of the ball are known to be of class 0.
        id: Of the sample.
        threat: What may be changed.
    """

    classifier: Classifier
    x: Tensor
    x_adv: Tensor
    inner: int
    id: int
    threat: Threat

    def luck(self, seed: int, batch_size: int) -> bool:
        """Returns whether one of `inner` points drawn uniformly from the whole ball is of class 1."""
        points = draw(self.threat, self.x, Stream(seed, "planted/search"), self.id, self.inner, batch_size)
        return any(bool((self.classifier.logits(part).argmax(1) == 1).any()) for part in points)


def plant(
    classifier: Classifier, x: Tensor, id: int, threat: Threat, inner: int, seed: int, batch_size: int
) -> Problem | None:
    """Returns a problem around `x`, or None where no readout parts a surface point from the inner ones.

    Args:
        classifier: Already inside its `frozen()` context.
        x: One accepted sample (1, ...).
        id: Of the sample; decides the random numbers together with `seed`.
        threat: What may be changed.
        inner: How many inner points to draw, 15 to 4095.
        seed: Of the run.
        batch_size: Rows the model sees at once.
    """
    head = find_head(classifier, x)
    smaller = replace(threat, eps=resized(threat.eps, (1 - GAP) * threat.radius))
    within = draw(smaller, x, Stream(seed, "planted/inner"), id, inner, batch_size)
    (towards,) = draw(threat, x, Stream(seed, "planted/surface"), id, CANDIDATES, CANDIDATES)
    surface = on_surface(threat, x, towards)
    origin = features(classifier, head, x)
    others = torch.cat([features(classifier, head, part) for part in (x, *within)]) - origin
    ends = features(classifier, head, surface) - origin
    logits = classifier.logits(x)
    while len(others) > LEAST:
        for place in range(len(ends)):
            direction = part(others, ends[place])
            if direction is None:
                continue
            readout = Readout(classifier, head, origin, *direction, logits)
            binary = Classifier(
                readout, bounds=classifier.bounds, output="logits", num_classes=logits.shape[1], device=x.device
            )
            x_adv = surface[place : place + 1]
            # In a fresh pass the sample must be right and the planted point wrong: that is all the test rests on.
            if binary.logits(x).argmax() == 0 and binary.logits(x_adv).argmax() == 1:
                threat.verify(x_adv, x, "planted")
                return Problem(binary, x, x_adv, len(others) - 1, id, threat)
        others = others[: len(others) // 2]
    return None


def draw(threat: Threat, x: Tensor, stream: Stream, id: int, count: int, batch_size: int) -> Iterator[Tensor]:
    """Yields `count` points, uniform in the ball around one sample `x` and clipped to the input range, in batches."""
    for start in range(0, count, batch_size):
        number = torch.arange(start, min(start + batch_size, count), device=x.device)
        around = x.expand(len(number), *x.shape[1:])
        points = threat.random(around, stream, torch.full_like(number, id), number, torch.zeros_like(number))
        yield threat.project(points, around, *threat.limits(around))


def on_surface(threat: Threat, x: Tensor, towards: Tensor) -> Tensor:
    """Returns points of the threat as far from `x` as it allows, one for each point of `towards` (N, ...).

    Linf: the corner of ball and input range in the same orthant. L2 and L1: the ray from `x` through the point, clipped
    to the box, is followed until its size is eps; where the input range leaves less room than eps, until there is
    hardly any left.
    """
    around = x.expand_as(towards)
    lower, upper = threat.limits(around)
    delta = towards.double() - around.double()
    if threat.norm == "Linf":
        return torch.where(delta < 0, lower, upper)
    room = lower.double() - around.double(), upper.double() - around.double()
    delta = delta / per_row(threat.size(delta), delta)
    short = torch.full((len(towards),), threat.radius, dtype=torch.float64, device=x.device)
    long = short * 1e6
    for _ in range(64):
        half = (short * long).sqrt()
        fits = threat.size((per_row(half, delta) * delta).clamp(*room)) <= threat.radius
        short, long = torch.where(fits, half, short), torch.where(fits, long, half)
    ray = (per_row(short, delta) * delta).clamp(*room)
    return threat.project((around.double() + ray).to(x.dtype), around, lower, upper)


def find_head(classifier: Classifier, x: Tensor) -> nn.Linear | None:
    """Returns the last linear layer the model runs if its output is what the model returns, else None.

    Averages of members, roundings and whatever else comes after a layer belong to the model under test, so its logits
    are read in their place.
    """
    calls: list[tuple[nn.Module, Any]] = []
    layers = [layer for layer in classifier.module.modules() if isinstance(layer, nn.Linear)]
    handles = [layer.register_forward_hook(lambda layer, _, output: calls.append((layer, output))) for layer in layers]
    try:
        logits = classifier.logits(x)
    finally:
        for handle in handles:
            handle.remove()
    if not calls:
        return None
    head, output = calls[-1]
    scores = output.to(logits.dtype)
    if classifier.output == "binary_logit" and scores.shape == (len(x), 1):
        scores = torch.cat([torch.zeros_like(scores), scores], dim=1)
    same = scores.shape == logits.shape and torch.allclose(
        scores.log_softmax(1), logits.log_softmax(1), rtol=1e-3, atol=1e-3
    )
    return head if same and isinstance(head, nn.Linear) else None


def features(classifier: Classifier, head: nn.Linear | None, x: Tensor) -> Tensor:
    """Returns what the layer `head` is given for `x`, or the logits where there is none, as float64 (N, d)."""
    if head is None:
        return classifier.logits(x).double()
    seen: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    try:
        classifier.raw(x)
    finally:
        handle.remove()
    return seen[-1].double()


def part(others: Tensor, end: Tensor) -> tuple[Tensor, float] | None:
    """Returns a direction (d,) and a limit that only `end` (d,) exceeds, or None where logistic regression has none.

    Args:
        others: Features of the sample, first and zero, and of the inner points (N, d).
        end: Features of the point to plant.
    """
    points = torch.cat([others, end.unsqueeze(0)])
    spread = points.std(dim=0)
    if not bool(points.isfinite().all()) or not bool((spread > 0).any()):
        return None
    scale = torch.where(spread > 0, spread, 1.0)
    goal = [0] * len(others) + [1]
    # Regularised, so that the direction leads to the point and not merely away from the others: without, ordinary
    # networks make problems that gradients do not solve.
    fit = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000).fit((points / scale).cpu().numpy(), goal)
    direction = torch.from_numpy(fit.coef_[0]).to(scale) / scale
    inner, outer = float((others @ direction).max()), float(end @ direction)
    return (direction, inner + CLOSENESS * (outer - inner)) if outer > inner else None


class Readout(nn.Module):
    """Scores of (inner, planted, everything else) from the features of a model.

    Args:
        classifier: The model.
        head: The layer whose input is read, or None for the logits.
        origin: Features of the sample (1, d).
        direction: Weights (d,).
        limit: Of the weighted features, less those of the sample; above it lies class 1.
        logits: The model's own for the sample (1, K): they give the number of scores and their size.
    """

    def __init__(
        self,
        classifier: Classifier,
        head: nn.Linear | None,
        origin: Tensor,
        direction: Tensor,
        limit: float,
        logits: Tensor,
    ) -> None:
        super().__init__()
        self.classifier, self.module, self.head, self.limit = classifier, classifier.module, head, limit
        self.classes = logits.shape[1]
        top = logits.double().flatten().topk(2).values
        gap = float(top[0] - top[1])
        # An attack that drowns in the scale of the model's logits must drown in these.
        self.scale = gap / (2 * limit) if 0 < gap < float("inf") else 1 / limit
        # No buffers: a Classifier takes device and dtype from the first tensor it finds, which must be the model's.
        self.origin, self.direction = origin, direction

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores (N, K) for `x` (N, ...)."""
        weighted = (features(self.classifier, self.head, x) - self.origin) @ self.direction
        score = self.scale * (weighted - self.limit)
        rest = -score.abs() - self.scale * self.limit
        return torch.stack([-score, score, *[rest] * (self.classes - 2)], dim=1)
