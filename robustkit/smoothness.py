"""Is the loss surface smooth at the scale on which attacks walk?"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from robustkit.classifier import Classifier
from robustkit.diagnostics import Diagnostic, diagnostic
from robustkit.losses import cross_entropy, margin
from robustkit.norms import Norm
from robustkit.rng import Stream
from robustkit.threat import Threat

POINTS = 100  # random points around each sample
WIDTH = 8 / 255  # of the noise in all, as a share of the input range
TURNS = 4  # of them at which the gradient is taken, too
STEP = 1 / 8  # of eps: about one step of an attack
NOISE, AGREEMENT = 0.10, 0.6  # limits; what models show is in docs/log.md


def smooth(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    ids: Tensor,
    norm: Norm = "Linf",
    eps: float | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> Diagnostic:
    """Returns Q18: how much the loss jumps around the samples, and whether its gradient holds for one step.

    The first is the indicator of unstable predictions of Pintor et al. 2022, arXiv 2106.09947: the mean relative change
    of the attack's loss, at most 1, over 100 random points. Deviations: the loss is the margin, which has no saturated
    end, and changes are measured against at least its median over the samples; in L2 and L1 the noise is uniform in the
    ball whose points are as large as those of the cube; and it is never larger than eps.

    The second is ours: the mean cosine between the gradient at the sample and at points one step of an attack away (an
    eighth of eps). Where it is low, steps follow directions that no longer hold when they arrive.

    Args:
        classifier: Inside its `frozen()` context.
        x: Accepted inputs (N, ...), right from the start.
        y: Labels (N,) on the same device.
        ids: Sample ids (N,) on the same device.
        norm: Of the threat.
        eps: Its radius; 8/255 of the input range in Linf by default.
        seed: Of the points.
        batch_size: Rows the model sees at once.
    """
    limit = f"loss changes by at most {100 * NOISE:g} %, gradients agree to at least {AGREEMENT:g}"
    if classifier.draws > 1:
        return diagnostic("Q18", None, limit, "not run", "the surface of a random model is rough by nature; see Q05")
    low, high = classifier.bounds
    count, half = x[0].numel(), WIDTH / 2 * (high - low)
    eps = 2 * half if eps is None else eps
    cube = {"Linf": half, "L2": half * math.sqrt(count / 3), "L1": half * count / 2}[norm]
    around = Threat(norm=norm, eps=min(eps, cube), bounds=classifier.bounds)
    near = replace(around, eps=min(STEP * eps, cube))
    stream, rows = Stream(seed, "smoothness"), range(0, len(x), batch_size)
    parts = [(x[i : i + batch_size], y[i : i + batch_size], ids[i : i + batch_size]) for i in rows]
    with torch.no_grad():
        size = torch.cat([_margin(classifier, x, y) for x, y, _ in parts]).abs()
        # A sample on the edge has a margin near zero, which any change is large against; so it counts as a typical one.
        scale = torch.split(size.clamp(min=max(float(size.median()), 1e-12)), batch_size)
        pairs = zip(parts, scale, strict=True)
        noise = torch.cat([_noise(classifier, *part, own, around, stream) for part, own in pairs])
    cosine = torch.cat([_cosine(classifier, *part, near, stream) for part in parts])
    rough, agree = float(noise.mean()), float(cosine.mean())
    value = f"loss {100 * rough:.1f} %, gradient {agree:.2f}"
    if rough <= NOISE and agree >= AGREEMENT:
        message = f"around {len(x)} samples the loss changes by {100 * rough:.1f} %, and gradients one step apart agree"
        return diagnostic("Q18", value, limit, "pass", f"{message} to {agree:.2f}")
    message = (
        f"around {len(x)} samples the loss changes by {100 * rough:.1f} % where all should be alike, and gradients "
        f"one step apart agree to {agree:.2f} only: the surface is rough and gradients lead nowhere; try Square, BPDA "
        "around the rough part, or an average over noise (eot=16)"
    )
    return diagnostic("Q18", value, limit, "fail", message)


def _point(x: Tensor, ids: Tensor, threat: Threat, stream: Stream, number: int) -> Tensor:
    zero = torch.zeros_like(ids)
    return threat.project(threat.random(x, stream, ids, zero, zero + number), x, *threat.limits(x))


def _margin(classifier: Classifier, x: Tensor, y: Tensor) -> Tensor:
    return margin(classifier.logits(x).double(), y)[0]


def _noise(
    classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor, scale: Tensor, threat: Threat, stream: Stream
) -> Tensor:
    """Returns the mean change of the margin (N,) over the random points, in units of `scale` (N,) and at most 1."""
    base = _margin(classifier, x, y)
    total = torch.zeros_like(base)
    for number in range(POINTS):
        there = _margin(classifier, _point(x, ids, threat, stream, number), y)
        total += ((there - base).abs() / scale).clamp(max=1)
    return total / POINTS


def _cosine(classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor, threat: Threat, stream: Stream) -> Tensor:
    """Returns the mean cosine (N,) of the gradient at `x` and at some of the points; 0 where there is none."""
    here = classifier.gradient(x, y, cross_entropy).grad.flatten(1).double()
    total = torch.zeros_like(here[:, 0])
    for number in range(TURNS):
        at = _point(x, ids, threat, stream, number)
        there = classifier.gradient(at, y, cross_entropy).grad.flatten(1).double()
        total += (_unit(here) * _unit(there)).sum(1)
    return total / TURNS


def _unit(grad: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
    return grad / torch.where(length > 0, length, 1.0)
