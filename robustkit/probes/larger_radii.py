"""Accuracy by radius and at unbounded eps, against what the evaluation says: Q11 and Q12."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from robustkit.attacks import APGD, PGD, Patch, SigmaZero
from robustkit.attacks.base import Attack
from robustkit.attacks.names import attack_name
from robustkit.attacks.radius import eps_text
from robustkit.attacks.threat import Eps, parse_eps
from robustkit.checks.diagnostic import Diagnostic, diagnostic, judged
from robustkit.evaluation.curve import Curve, security_curve
from robustkit.evaluation.gradient_masking import CHANGED
from robustkit.maths.intervals import proportion
from robustkit.maths.norms import NORMS
from robustkit.probes.samples import Outcome, Subset

STEPS, SPARSE_STEPS = 20, 100  # of the probes' own attacks
UNBOUNDED = 0.1  # share that may survive unbounded eps


def larger_radii(subset: Subset) -> Outcome:
    """Q11 and Q12: accuracy by radius, contradictions with the evaluation, and unbounded eps."""
    (low, high), size = subset.threat.range, subset.x[0].numel()
    unit = 1.0 if subset.threat.sparse else high - low
    whole = unit * {"Linf": 1.0, "L2": math.sqrt(size)}.get(subset.threat.norm, float(size))
    whole = math.inf if subset.threat.per_coordinate else whole  # in its proportions none is sure to hold the range
    radii: list[Eps] = [
        scaled(subset.threat.eps, share) for share in (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2))
    ]
    search: Attack
    if subset.threat.sparse:
        radii = [*sorted({math.ceil(parse_eps(radius)) for radius in radii})]
        sparse = subset.threat.norm in SigmaZero.norms
        search = (
            SigmaZero(**subset.common, steps=SPARSE_STEPS)
            if sparse
            else Patch(**subset.common, steps=STEPS, restarts=2)
        )
    else:
        search = APGD(**subset.common, steps=STEPS)
    data = (subset.x, subset.y, subset.ids)
    within = [radius for radius in radii if parse_eps(radius) < whole]
    drawn = security_curve(subset.classifier, data, [search], within, batch_size=subset.batch_size, seed=subset.seed)
    at = torch.from_numpy(drawn.broken_at).to(subset.x.device)
    early = (at <= subset.threat.radius) & subset.unbroken
    unbounded, broken = _unbounded(subset)
    # What the evaluation broke at its own radius is broken, whether or not the probe saw it.
    at = torch.where(~subset.unbroken & subset.right, at.clamp(max=subset.threat.radius), at)
    broken_at = torch.where(at.isinf() & broken, whole, at).cpu().numpy()
    radii = ["0", *drawn.radii, *([whole] if math.isfinite(whole) else [])]
    curve = replace(
        drawn,
        radii=tuple(radii),
        accuracy=tuple(proportion(int((broken_at > parse_eps(r)).sum()), len(broken_at)) for r in radii),
        broken_at=broken_at,
        label=f"{attack_name(search.label)} with {search.steps_per_start} steps on {len(broken_at)} samples"
        f"{', last with unbounded eps' if math.isfinite(whole) else ''}",
    )
    return Outcome((_falls(curve, search, int(early.sum()), int(subset.right.sum())), unbounded), curve)


def scaled(eps: Eps, share: Fraction) -> Eps:
    """Returns `share` times a radius, spelled like it: half of "8/255" is "4/255", half of 0.3 is 0.15."""
    if isinstance(eps, str) and "/" in eps:
        return str(Fraction(eps) * share)
    return float(f"{parse_eps(eps) * float(share):.6g}")


def _falls(curve: Curve, search: Attack, early: int, right: int) -> Diagnostic:
    points = zip(curve.radii, curve.accuracy, strict=True)
    path = ", ".join(f"{100 * (right.value or 0):.0f} % at {eps_text(radius)}" for radius, right in points)
    share = proportion(early, right)
    status = judged(share, *CHANGED)
    message = f"on {len(curve.ids)} samples {path}"
    if status != "pass":
        message += (
            f"; {search.steps_per_start} steps of {search.name} within the same radius break {early} samples that the "
            "evaluation did not: its attacks are too weak; use "
        )
        message += "more steps" if search.norm not in NORMS else "apgd:steps=100, or the protocol autoattack"
    limit = "at most 1 % of the correct samples newly broken within eps (by the 95 % confidence bound)"
    return diagnostic("Q11", share.value or 0.0, limit, status, message)


def _unbounded(subset: Subset) -> tuple[Diagnostic, Tensor]:
    """Returns Q12 and which samples PGD from the clean input breaks with unbounded eps.

    Every other sample lies within reach, too. So where the model predicts different classes for them, there is an
    adversarial example for each, and a useful gradient leads there; noise would find it by chance.
    """
    low, high = subset.threat.ends(subset.x[:1])
    settings = {**subset.common, "norm": "Linf", "eps": high - low}
    walk = PGD(**settings, steps=STEPS, random_start=False)
    target = subset.threat.target
    rows = subset.right if target is None else subset.right & (subset.y != target)
    limit = f"at most {100 * UNBOUNDED:g} % survive"
    broken = torch.zeros_like(rows)
    if subset.fixed:
        return diagnostic("Q12", None, limit, "not run", "some values are fixed: no example is known to exist"), broken
    known = len(subset.predicted) > 1 if target is None else target in subset.predicted
    if not known or not bool(rows.any()):
        if known:
            why = "no sample is correct"
        elif target is None:
            why = "all clean samples get the same prediction, so no adversarial example is known to exist: are the "
            why += "weights loaded, and has the data more than one class?"
        else:
            why = "no clean sample is predicted as the target, so no adversarial example is known to exist"
        return diagnostic("Q12", None, limit, "not run", why), broken
    broken[rows] = subset.take(rows).attack(walk)
    left, right = int((rows & ~broken).sum()), int(rows.sum())
    share = proportion(left, right)
    status = judged(share, UNBOUNDED, UNBOUNDED)
    message = f"with unbounded eps, {left} of {right} samples survive {STEPS} steps of pgd"
    if status != "pass":
        message += ", although other predictions are in reach: the gradient is masked; use BPDA, Square, or loss=margin"
    return diagnostic("Q12", share.value or 0.0, limit, status, message), broken
