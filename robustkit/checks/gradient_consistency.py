"""Is the gradient that a model offers to attacks that of its own function?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustkit.attacks.radius import resized
from robustkit.attacks.threat import Threat
from robustkit.checks.diagnostic import Diagnostic, Status, check_name, diagnostic, judged
from robustkit.checks.loss_surface import precision
from robustkit.maths.intervals import proportion
from robustkit.maths.losses import lead, margin
from robustkit.maths.norms import has_room
from robustkit.maths.random_numbers import Stream
from robustkit.model.bpda import declares_substitute
from robustkit.model.classifier import Classifier

SHORT = 1 / 8  # of eps: about one step of an attack; where it shows nothing good, all of eps is tried, too
COARSE = 0.1  # of the input range, in Linf: tried as well where a `BPDA` declares jumps that eps may not reach
DIRECTIONS = 8  # random ones, which tell how steep the function is
LEAST, MOST = 0.2, 10.0  # of what is promised, and of the steepness; honest models show 0.5 to 1 (docs/log.md)
ROUNDING = 16  # units in the last place that a change has to be expected to make, or nothing is said of it
FALSE = (0.05, 0.1)  # shares of the samples: a remark above, a failure
FEW = 3  # samples that a group must have at least against it
CONSTANT = 0.5  # share of the false ones whose scores do not move at all: then that is what is said


@dataclass(frozen=True)
class FirstOrder:
    """What a step along the model's own gradient did, one row per sample.

    Attributes:
        ratio: Change of the margin over the change that the gradient promised (N,).
        known: Whether anything can be said: there is a gradient, and what it promises exceeds rounding.
        false: Whether the gradient is not the function's.
        still: Whether the scores were equal at all points.
    """

    ratio: Tensor
    known: Tensor
    false: Tensor
    still: Tensor


def first_order(
    classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor, threat: Threat, seed: int = 0, batch_size: int = 256
) -> FirstOrder:
    """Returns what a step along the gradient of the margin does to the margin.

    Pintor et al., ESANN 2021, compare the same two changes (slope). A gradient that is too short by some factor serves
    an attack as well, and one that is not the function's may have any length; so the step is compared, too, with eight
    random ones: along them the margin changes as the length of the true gradient says, and both together give the
    cosine between it and the gradient offered.

    The step is an eighth of eps: two passes forward and one backward, and eight forward. Samples on which it shows
    nothing, or nothing good, get a second one of the whole eps; so rounding to stored levels is no false gradient, nor
    is half precision. One good step is enough.

    Args:
        classifier: Inside its `frozen()` context.
        x: Accepted inputs (N, ...), right from the start.
        y: Labels (N,) on the same device.
        ids: Sample ids (N,) on the same device.
        threat: Of the evaluation.
        seed: Of the random directions.
        batch_size: Rows the model sees at once.
    """
    stream, nothing = Stream(seed, "first order"), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    found = FirstOrder(nothing.double(), nothing.clone(), nothing.clone(), nothing.clone())
    for radius in _radii(classifier, x, threat):
        near = replace(threat, eps=resized(threat.eps, radius), target=None, levels=None)
        left = (found.false | ~found.known).nonzero().flatten()
        for rows in torch.split(left, batch_size) if len(left) else ():
            seen = _look(classifier, x[rows], y[rows], ids[rows], near, stream)
            better = ~found.known[rows] | (seen.known & ~seen.false)
            for whole, part in zip(vars(found).values(), vars(seen).values(), strict=True):
                whole[rows] = torch.where(better, part, whole[rows])
    return found


def _radii(classifier: Classifier, x: Tensor, threat: Threat) -> list[float]:
    radii = [SHORT * threat.radius, threat.radius]
    if declares_substitute(classifier.module):
        low, high = threat.range
        cube, count = COARSE * (high - low), x[0].numel()
        radii.append(cube * {"Linf": 1.0, "L2": math.sqrt(count / 3), "L1": count / 2}[threat.norm])
    return radii


def _look(classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor, near: Threat, stream: Stream) -> FirstOrder:
    """Returns what one step of the size of the threat `near` does."""
    limits, zero = near.limits(x), torch.zeros_like(ids)
    found = classifier.gradient(x, y, margin)
    movable = has_room(x, found.grad, *limits) if near.norm == "L1" else None
    along = x.add(near.steepest(found.grad, movable, 0.05), alpha=near.radius)
    others = [near.random(x, stream, ids, zero, zero + number) for number in range(DIRECTIONS)]
    points = [near.project(point, x, *limits) for point in (along, *others)]
    start, grad = found.logits.double(), found.grad.double()
    promised = torch.stack([(grad * (point.double() - x.double())).flatten(1).sum(1) for point in points])
    with torch.no_grad():
        there = [classifier.logits(point).double() for point in points]
    changed = torch.stack([lead(logits, y) for logits in there]) - lead(start, y)
    least = ROUNDING * precision(classifier, x) * start.abs().amax(1)
    ratio = changed[0] / promised[0]
    typical = promised[1:].square().mean(0).sqrt()
    factor = changed[1:].square().mean(0).sqrt() / typical  # by how much the function is steeper than its gradient
    alignment = torch.where(typical > least, ratio / factor, ratio)
    still = torch.stack([(logits == start).all(1) for logits in there]).all(0)
    false = ~((ratio >= LEAST) & (alignment >= LEAST) & (alignment <= MOST))
    return FirstOrder(ratio, promised[0] > least, false, still)


def first_order_diagnostic(found: FirstOrder, y: Tensor, unbroken: Tensor | None = None) -> Diagnostic:
    """Returns Q24: whether the gradient is the function's for nearly all samples, of each class, and of the survivors.

    Args:
        found: What `first_order` found.
        y: Labels (N,).
        unbroken: Which samples survived all attacks (N,), where there were any.
    """
    remark, fail = FALSE
    limit = f"at most {100 * remark:g} % of the samples with a false gradient; above {100 * fail:g} % unreliable"
    known, false = found.known, found.known & found.false
    if not bool(known.any()):
        why = f"no gradient, or its effect is lost in rounding; see {check_name('Q07')}"
        return diagnostic("Q24", None, limit, "not run", why)
    groups = {"": torch.ones_like(known)}
    if unbroken is not None:
        groups[" that survive"] = unbroken
    groups |= {f" of class {label}": y == label for label in sorted(set(y.tolist()))}
    told: dict[str, tuple[Status, str]] = {}
    for name, rows in groups.items():
        share = proportion(int((false & rows).sum()), int((known & rows).sum()))
        status = judged(share, remark, fail) if share.k >= FEW else "pass"
        told[name] = status, f"{share.k} of {share.n} samples{name}"
    status = max((status for status, _ in told.values()), key=("pass", "remark", "fail").index)
    ratio = float(found.ratio[known].median())
    message = f"a step along the gradient changes the margin by {ratio:.2f} of what the gradient promises (median of "
    message += f"{int(known.sum())} samples)"
    if status != "pass":
        against = [text for worse, text in told.values() if worse == status]
        message += f"; for {', '.join(against[:4])} the gradient is not that of the model's function"
        if float(found.still[false].double().mean()) > CONSTANT:
            message += ", whose scores do not change at all there: they are labels, votes or rounded"
        message += (
            ", so that attacks which follow it overestimate robustness; attack the scores underneath, or what needs no"
            " gradient: a transfer attack (--surrogate) and HopSkipJump (--attack hop-skip-jump)"
        )
    return diagnostic("Q24", ratio, limit, status, message)
