"""Is the loss surface smooth at the scale of an attack's steps?"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from robustkit.attacks.threat import Threat
from robustkit.base.per_coordinate import by_coordinate, overall
from robustkit.checks.diagnostic import Diagnostic, check_name, diagnostic
from robustkit.maths.losses import cross_entropy, lead
from robustkit.maths.norms import Norm
from robustkit.maths.random_numbers import Stream
from robustkit.model.bpda import declares_substitute
from robustkit.model.classifier import Classifier

POINTS = 100  # random points around each sample
WIDTH = 8 / 255  # of the noise in all, as a share of the input range
TURNS = 4  # of them at which the gradient is taken, too
STEP = 1 / 8  # of eps: about one step of an attack
FLAT = 1 / 4  # of the noise's size: below that, a loss that does not change at all may be one of few digits
STILL = 1e-5  # change of the loss that is only rounding
PIECES = 32  # into which such a step is cut
ROUNDING = 16  # units in the last place that a piece has to move the loss by, or nothing is said of it
NOISE, AGREEMENT, SPREAD = 0.10, 0.6, 0.5  # limits; what models show is in docs/log.md


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
    """Returns Q18: how much the loss changes around the samples, how long its gradient holds, and whether it jumps.

    The first is the indicator of unstable predictions of Pintor et al. 2022, arXiv 2106.09947: the mean relative change
    of the attack's loss, at most 1, over 100 random points. Deviations: the loss is the margin, which has no saturated
    end, and changes are measured against at least its median over the samples; in L2 and L1 the noise is uniform in the
    ball whose points are as large as those of the cube; and it is never larger than eps.

    The second is ours: the mean cosine between the gradient at the sample and at points one step of an attack away (an
    eighth of eps). Where it is low, steps follow directions that no longer hold when they arrive.

    The third is ours, too: the way to such a point is cut into 32 pieces, and the median over the samples is taken of
    the participation ratio of the changes of the margin along it, (sum)^2 / (32 * sum of squares). It is 1 where all
    pieces change it alike, as on any smooth surface, and 1/32 where one of them does, as on a staircase, which has no
    gradient, or one that knows nothing of the steps. Not said where the changes are too small for the precision, nor of
    models with a `BPDA`, whose jumps are declared.

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
    limit = f"loss changes by at most {100 * NOISE:g} %, gradients agree to at least {AGREEMENT:g}, spread {SPREAD:g}"
    if classifier.draws > 1:
        why = f"the loss surface of a stochastic model is always rough; see {check_name('Q05')}"
        return diagnostic("Q18", None, limit, "not run", why)
    if by_coordinate(*classifier.bounds):
        return diagnostic("Q18", None, limit, "not run", "made for one input range of all coordinates")
    low, high = overall(classifier.bounds)
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
        spread = torch.cat([_spread(classifier, *part, near, stream) for part in parts])
    cosine = torch.cat([_cosine(classifier, *part, near, stream) for part in parts])
    rough, agree, even = float(noise.mean()), float(cosine.mean()), float(spread.nanmedian())
    value = f"loss {100 * rough:.1f} %, gradient {agree:.2f}" + ("" if math.isnan(even) else f", spread {even:.2f}")
    message = f"around {len(x)} samples the loss changes by {100 * rough:.1f} %, gradients one step apart agree to "
    message += f"{agree:.2f}"
    if not math.isnan(even):
        message += f", and the change along a step is spread over {100 * even:.0f} % of it"
    flat = rough < STILL and agree > 0 and around.radius >= FLAT * cube and not declares_substitute(classifier.module)
    fine = not flat and rough <= NOISE and agree >= AGREEMENT and not even < SPREAD
    if flat:
        message += (
            ": gradients are not zero, yet the loss does not change at all, so they are not those of the model's "
        )
        message += "function; attack the scores underneath, or what needs no gradient: a transfer attack"
    elif not fine:
        message += ": the loss surface is too rough for gradient-based attacks; use Square, BPDA for the rough part, "
        message += "or average over noise (eot=16)"
    return diagnostic("Q18", value, limit, "pass" if fine else "fail", message)


def _point(x: Tensor, ids: Tensor, threat: Threat, stream: Stream, number: int) -> Tensor:
    zero = torch.zeros_like(ids)
    return threat.project(threat.random(x, stream, ids, zero, zero + number), x, *threat.limits(x))


def _margin(classifier: Classifier, x: Tensor, y: Tensor) -> Tensor:
    return lead(classifier.logits(x).double(), y)


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


def _spread(classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor, threat: Threat, stream: Stream) -> Tensor:
    """Returns over how large a share of a short way the margin changes (N,): 1 if evenly, nan where it is not known."""
    if declares_substitute(classifier.module):
        return torch.full_like(ids, torch.nan, dtype=torch.float64)  # declared jumps are attacked through
    there = _point(x, ids, threat, stream, 0)
    way = [classifier.logits(x.lerp(there, k / PIECES)).double() for k in range(PIECES + 1)]
    moved = torch.stack([lead(logits, y) for logits in way]).diff(dim=0).abs()
    seen = moved.mean(0) > ROUNDING * precision(classifier, x) * way[0].abs().amax(1)
    return torch.where(seen, moved.sum(0).square() / (PIECES * moved.square().sum(0)), torch.nan)


def precision(classifier: Classifier, x: Tensor) -> float:
    """Returns the relative step of the coarsest numbers that the model computes with, as far as they show."""
    output = classifier.find_scores(classifier.raw(x[:1]))
    steps = [torch.finfo(dtype).eps for dtype in (classifier.model_dtype, output.dtype)]
    return max(*steps, 0.0 if x.device.type == "cpu" else 2**-10)  # GPUs may convolve in TF32


def _unit(grad: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
    return grad / torch.where(length > 0, length, 1.0)
