"""Probes: small experiments after the attacks that show whether these could have found what is there.

Carlini et al. 2019, arXiv 1902.06705, section 4, and Pintor et al. 2022, arXiv 2106.09947, list what an evaluation that
can be trusted must show. Each probe is one of their tests on a few samples, chosen by id so that neither order nor batch
size matters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.attack import Attack
from robustkit.attacks import APGD, FGSM, PGD, Noise, Square
from robustkit.bench import Bench, Progress
from robustkit.classifier import Classifier
from robustkit.copies import Copies
from robustkit.curve import Curve, security_curve
from robustkit.data import Batch
from robustkit.diagnostics import Diagnostic, diagnostic, judged
from robustkit.errors import RobustkitError
from robustkit.evaluation import beaten
from robustkit.planted import planted
from robustkit.rng import Stream
from robustkit.smoothness import smooth
from robustkit.stats import proportion
from robustkit.threat import Eps, Threat, eps_text, parse_eps
from robustkit.witness import shortened, silent_success

STEPS, QUERIES = 20, 300  # of the probes' own attacks
WATCHED, SMOOTH, PLANTS = 8, 32, 10  # samples that the dearer probes look at
BOX = 0.1  # share that may survive the whole box
CHANGED = 0.02  # share of verdicts that may change, chance allowed for


@dataclass(frozen=True)
class Probed:
    """What the probes found.

    Attributes:
        found: The checks.
        curve: Robust accuracy by radius on the samples of the probes, 0 and the whole box included.
        n: How many samples they looked at.
        seconds: How long it took.
    """

    found: tuple[Diagnostic, ...] = ()
    curve: Curve | None = None
    n: int = 0
    seconds: float = 0.0


class Probes:
    """Collects the samples while an evaluation runs, and experiments on them when it is done.

    Args:
        bench: The running evaluation.
        room: How many samples to keep: those that come first in a random order of ids.
        tuning: Data the model was tuned on, or their hash; see `Copies.diagnostic`.
    """

    def __init__(self, bench: Bench, room: int, tuning: Any = None) -> None:
        self.bench, self.room, self.tuning = bench, room, tuning
        self.copies = Copies()
        self.kept: list[tuple[float, int, Tensor, int, int]] = []  # rank, id, x, y, place in the ledger
        self.seconds = 0.0

    @property
    def stages(self) -> int:
        """How many pieces of work there will be, each with all samples kept."""
        return len(_PROBES) if self.room else 0

    def offer(self, batch: Batch) -> None:
        """Looks at samples that all attacks are done with: the last ones of the ledger."""
        start = time.perf_counter()
        x = self.bench.classifier.accept(batch.x)
        self.copies.add(x, batch)
        ids = batch.ids.cpu()
        zero = torch.zeros_like(ids)
        rank = Stream(self.bench.seed, "probes").uniform((1,), ids, zero, zero).flatten().tolist()
        first = len(self.bench.ledger) - len(ids)
        most = self.kept[-1][0] if len(self.kept) == self.room and self.kept else math.inf
        fresh = [i for i in range(len(ids)) if rank[i] <= most] if self.room else []
        labels = self.bench.ledger["label"]
        new = [(rank[i], int(ids[i]), x[i].cpu(), int(labels[first + i]), first + i) for i in fresh]
        self.kept = sorted([*self.kept, *new], key=lambda item: item[:2])[: self.room]
        self.seconds += time.perf_counter() - start

    def run(self) -> Probed:
        """Returns what the experiments show; the model is left as it was."""
        start, bench = time.perf_counter(), self.bench
        found, curve = [self.copies.diagnostic(bench.classifier, self.tuning, bench.data_sha256)], None
        if self.kept:
            with bench.classifier.frozen():
                subset = self._subset()
                for name, check in _PROBES.items():
                    self._tell(name)
                    outcome = _run(check, subset)
                    found += outcome.found
                    curve = outcome.curve or curve
        return Probed(tuple(found), curve, len(self.kept), self.seconds + time.perf_counter() - start)

    def _subset(self) -> Subset:
        bench, ledger = self.bench, self.bench.ledger
        place = [item[4] for item in self.kept]
        device = bench.classifier.device
        return Subset(
            classifier=bench.classifier,
            threat=bench.threat,
            attacks=bench.protocol.attacks,
            broken=tuple(int(ledger.broken_under(run.label).sum()) for run in bench.runs),
            x=torch.stack([item[2] for item in self.kept]).to(device),
            y=torch.tensor([item[3] for item in self.kept], device=device),
            ids=torch.tensor([item[1] for item in self.kept]),
            right=torch.from_numpy(ledger.right[place]).to(device),
            standing=torch.from_numpy(_standing(bench)[place]).to(device),
            predicted=frozenset(ledger["clean_prediction"].tolist()),
            seed=bench.seed,
            batch_size=bench.batch_size,
        )

    def _tell(self, name: str) -> None:
        bench = self.bench
        bench.done += len(self.kept)
        if bench.progress:
            robust, seen = int(bench.ledger.standing.sum()), len(bench.ledger)
            bench.progress(Progress(f"probe: {name}", bench.done, bench.total, robust, seen))


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
        standing: Whether they are right and no attack reached its goal.
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
    standing: Tensor
    predicted: frozenset[int]
    seed: int
    batch_size: int

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Tensor) -> Subset:
        """Returns the samples at `rows`, a mask or positions."""
        ids = self.ids[rows.cpu()]
        kept = {name: getattr(self, name)[rows] for name in ("x", "y", "right", "standing")}
        return replace(self, ids=ids, **kept)

    def first(self, count: int) -> Subset:
        """Returns at most so many samples."""
        return self.take(torch.arange(min(count, len(self)), device=self.x.device))

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


def _standing(bench: Bench) -> Any:
    """Returns which samples of the ledger are right and were not brought to the goal of any attack."""
    ledger, target = bench.ledger, bench.threat.target
    if target is None:
        return ledger.robust
    reached = np.any([ledger[f"{label}/prediction"] == target for label in ledger.attacks], axis=0)
    return ledger.right & (ledger["label"] != target) & ~reached


def _run(check: Callable[[Subset], Probed], subset: Subset) -> Probed:
    """Returns what a check found, or that it could not be made and why."""
    ids = _CHECKS[check]
    if not 0 < subset.threat.radius < math.inf and check is not _nothing:
        return _not_run(ids, f"there is no ball to search at eps {subset.threat.eps}")
    try:
        return check(subset)
    except RobustkitError as error:
        return _not_run(ids, str(error).splitlines()[0][:200])


def _not_run(ids: tuple[str, ...], why: str) -> Probed:
    return Probed(tuple(diagnostic(id, None, "", "not run", why) for id in ids))


def _nothing(subset: Subset) -> Probed:
    """Q10: with a radius of zero every attack must hand back its input, bit for bit."""
    few = subset.take(subset.right).first(4)
    limit = "every input handed back bit for bit"
    if not len(few):
        return _not_run(("Q10",), "no sample is right from the start")
    moved: list[str] = []
    tried = 0
    for attack in subset.attacks:
        still = replace(shortened(attack, 4, 8), eps=0)
        try:
            found = still(few.classifier, few.x, few.y, ids=few.ids, seed=few.seed)
        except RobustkitError:
            if attack.kind != "adapter":  # a foreign attack may divide by its radius
                raise
            continue
        tried += 1
        told = found.success & (few.y != (-1 if attack.target is None else attack.target))
        steady = few.classifier.draws == 1 and _steady(few)
        if not torch.equal(found.x_adv, few.x) or (steady and bool(told.any())):
            moved.append(attack.label)
    message = f"at eps 0 {tried} attacks return their input, and the model its clean answer"
    if moved:
        message = f"at eps 0 {', '.join(moved)} changed inputs or answers: the attack or the model is not what it seems"
    return Probed((diagnostic("Q10", len(moved), limit, "fail" if moved else "pass", message),))


def _steady(subset: Subset) -> bool:
    with torch.no_grad():
        one, two = (subset.classifier.logits(subset.x).argmax(1) for _ in range(2))
    return torch.equal(one, two)


def _curve(subset: Subset) -> Probed:
    """Q11 and Q12: accuracy by radius, contradictions with the evaluation, and the whole box."""
    low, high = subset.threat.bounds
    width, size = high - low, subset.x[0].numel()
    whole = width * {"Linf": 1.0, "L2": math.sqrt(size), "L1": float(size)}[subset.threat.norm]
    radii = [scaled(subset.threat.eps, share) for share in (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2))]
    search = APGD(**subset.common, steps=STEPS)
    data = (subset.x, subset.y, subset.ids)
    options = {"batch_size": subset.batch_size, "seed": subset.seed}
    drawn = security_curve(subset.classifier, data, [search], [r for r in radii if parse_eps(r) < whole], **options)
    at = torch.from_numpy(drawn.broken_at).to(subset.x.device)
    early = (at <= subset.threat.radius) & subset.standing
    unbounded, broken = _box(subset, width)
    # What the evaluation broke at its own radius is broken, whether or not the probe saw it.
    at = torch.where(~subset.standing & subset.right, at.clamp(max=subset.threat.radius), at)
    at = torch.where(at.isinf() & broken, whole, at).cpu().numpy()
    curve = replace(
        drawn,
        radii=("0", *drawn.radii, whole),
        accuracy=tuple(proportion(int((at > parse_eps(r)).sum()), len(at)) for r in ("0", *drawn.radii, whole)),
        broken_at=at,
        label=f"{search.label} with {STEPS} steps on {len(at)} samples, at last the whole box",
    )
    return Probed((_falls(curve, int(early.sum()), int(subset.right.sum())), unbounded), curve)


def scaled(eps: Eps, share: Fraction) -> Eps:
    """Returns `share` times a radius, spelled like it: half of "8/255" is "4/255", half of 0.3 is 0.15."""
    if isinstance(eps, str) and "/" in eps:
        return str(Fraction(eps) * share)
    return float(f"{parse_eps(eps) * float(share):.6g}")


def _falls(curve: Curve, early: int, right: int) -> Diagnostic:
    path = ", ".join(f"{100 * (a.value or 0):.0f} % at {eps_text(r)}" for r, a in zip(curve.radii, curve.accuracy, strict=True))
    share = proportion(early, right)
    status = judged(share, CHANGED, CHANGED)
    message = f"on {len(curve.ids)} samples {path}"
    if status != "pass":
        message += (
            f"; {early} samples that the evaluation left standing fall to {STEPS} steps of apgd at its own or a smaller "
            "radius: its attacks are too weak; try apgd:steps=100, or the protocol autoattack"
        )
    limit = f"at most {100 * CHANGED:g} % of the right samples fall at a radius at which they were said to stand"
    return diagnostic("Q11", share.value or 0.0, limit, status, message)


def _box(subset: Subset, width: float) -> tuple[Diagnostic, Tensor]:
    """Returns Q12 and which samples fall to a walk from the clean input through the whole box.

    Every other sample lies in that box, too. So where the model gives different answers to them, there is something to
    be found for each, and a gradient that is worth its name leads there; noise would find it by luck.
    """
    settings = {**subset.common, "norm": "Linf", "eps": width}
    walk = PGD(**settings, steps=STEPS, random_start=False)
    target = subset.threat.target
    rows = subset.right if target is None else subset.right & (subset.y != target)
    limit = f"at most {100 * BOX:g} % survive"
    broken = torch.zeros_like(rows)
    known = len(subset.predicted) > 1 if target is None else target in subset.predicted
    if not known or not bool(rows.any()):
        why = "every clean sample gets the same answer, so that nothing is known to exist anywhere in the box"
        return diagnostic("Q12", None, limit, "not run", why if not known else "no sample is right"), broken
    broken[rows] = subset.take(rows).attack(walk)
    left, right = int((rows & ~broken).sum()), int(rows.sum())
    share = proportion(left, right)
    status = judged(share, BOX, BOX)
    message = f"a walk along the gradient through the whole box leaves {left} of {right} samples standing"
    if status != "pass":
        message += ", although other answers exist in it: the gradient is masked; try BPDA, Square, or loss=margin"
    return diagnostic("Q12", share.value or 0.0, limit, status, message), broken


def _longer(subset: Subset) -> Probed:
    """Q14: whether twice the steps of the best attack change verdicts."""
    if not subset.strong:
        return _not_run(("Q14",), "no attack of several gradient steps took part")
    best: Any = subset.strong[0]
    left = subset.take(subset.standing).first(max(WATCHED, len(subset) // best.starts))
    limit = f"at most {100 * CHANGED:g} % more broken by twice the steps"
    if not len(left):
        return Probed((diagnostic("Q14", 0.0, limit, "pass", "nothing was left for more steps to break"),))
    hits = int(left.attack(replace(best, steps=2 * best.steps)).sum())
    share = proportion(hits, len(left))
    status = judged(share, CHANGED, CHANGED)
    message = f"{2 * best.steps} steps of {best.label} break {hits} of {len(left)} samples that {best.steps} left standing"
    if status != "pass":
        message += f": it had not converged; try steps={4 * best.steps}"
    return Probed((diagnostic("Q14", share.value or 0.0, limit, status, message),))


def _weak(subset: Subset) -> Probed:
    """Q13, Q15 and Q16: the weak attacks that the evaluation had none of, on what its gradient attacks left."""
    if not subset.strong:
        return _not_run(("Q13", "Q15", "Q16"), "no attack of several gradient steps took part, to be compared with")
    kinds = {"single" if _single(attack) else attack.kind for attack in subset.attacks}
    left, common = subset.take(subset.standing), subset.common
    found = []
    for id, kind, what, attack in (
        ("Q13", "single", "a single step", FGSM(**common)),
        ("Q15", "black-box", f"Square with {QUERIES} queries", Square(**common, queries=QUERIES)),
        ("Q16", "control", "random noise", Noise(**common)),
    ):
        if kind not in kinds:
            found.append(beaten(id, what, int(left.attack(attack).sum()), int(subset.right.sum())))
    return Probed(tuple(found))


def _single(attack: Attack) -> bool:
    return attack.kind == "white-box" and attack.steps_per_start == 0


def _watched(subset: Subset) -> Probed:
    """Q17, on samples that fell and on samples that stand."""
    fell, stand = subset.take(subset.right & ~subset.standing), subset.take(subset.standing)
    few = stand.first(WATCHED - min(WATCHED // 2, len(fell)))
    rows = [*fell.first(WATCHED - len(few)).ids.tolist(), *few.ids.tolist()]
    if not rows:
        return _not_run(("Q17",), "no sample is right from the start")
    some = subset.take(torch.isin(subset.ids, torch.tensor(rows)).to(subset.x.device))
    return Probed((silent_success(some.classifier, some.attacks, some.x, some.y, some.ids, some.seed, some.batch_size),))


def _surface(subset: Subset) -> Probed:
    """Q18."""
    some = subset.take(subset.right).first(SMOOTH)
    if not len(some):
        return _not_run(("Q18",), "no sample is right from the start")
    threat = subset.threat
    ids = some.ids.to(some.x.device)
    return Probed(
        (smooth(some.classifier, some.x, some.y, ids, threat.norm, threat.radius, some.seed, some.batch_size),)
    )


def _planted(subset: Subset) -> Probed:
    """Q20, by the two gradient attacks that broke most."""
    attacks = subset.strong[:2]
    if not attacks or subset.threat.levels is not None or subset.classifier.draws > 1:
        why = "no attack of several gradient steps took part" if not attacks else "not for random models or stored levels"
        return _not_run(("Q20",), why)
    options = {"samples": PLANTS, "seed": subset.seed, "ids": subset.ids, "batch_size": subset.batch_size}
    return Probed((planted(subset.classifier, subset.x, subset.y, attacks, **options).diagnostic,))


_PROBES: dict[str, Callable[[Subset], Probed]] = {
    "eps 0": _nothing,
    "curve": _curve,
    "twice the steps": _longer,
    "weak attacks": _weak,
    "silent success": _watched,
    "loss surface": _surface,
    "planted": _planted,
}
_CHECKS: dict[Callable[[Subset], Probed], tuple[str, ...]] = {
    _nothing: ("Q10",),
    _curve: ("Q11", "Q12"),
    _longer: (),
    _weak: (),
    _watched: ("Q17",),
    _surface: ("Q18",),
    _planted: ("Q20",),
}
