"""The probes of a finished evaluation, each a test that attacks which can be trusted must pass.

They are those of Carlini et al. 2019, arXiv 1902.06705, section 4, and of Pintor et al. 2022, arXiv 2106.09947.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import torch

from robustkit.attacks import APGD, FGSM, HopSkipJump, Noise, Square
from robustkit.attacks.base import Attack
from robustkit.attacks.names import attack_name
from robustkit.attacks.protocols import TARGETS
from robustkit.attacks.threat import ThreatViolation
from robustkit.base.errors import ConfigurationError, RobustkitError
from robustkit.checks.diagnostic import TITLES, Diagnostic, check_name, diagnostic, judged
from robustkit.checks.gradient_consistency import first_order, first_order_diagnostic
from robustkit.checks.loss_surface import smooth
from robustkit.evaluation.gradient_masking import CHANGED, missed_by_stronger
from robustkit.maths.intervals import proportion
from robustkit.probes.discarded_successes import discarded_successes, shortened
from robustkit.probes.larger_radii import STEPS, larger_radii
from robustkit.probes.planted_examples import planted
from robustkit.probes.samples import Outcome, Subset, not_run

QUERIES = 300  # of Square
WATCHED, SMOOTH, PLANTS, REPLANTED = 8, 32, 10, 30  # samples that the dearer probes look at
SURVIVORS, WALK, LOOKS = 16, 15, 120  # samples, steps and looks a step of the attack on labels alone


def no_radius(subset: Subset) -> Outcome:
    """Q10: with a radius of zero every attack must return its input, bit for bit."""
    few = subset.take(subset.right).first(4)
    limit = "every input returned bit for bit"
    if not len(few):
        return not_run(("Q10",), "no sample is initially correct")
    moved: list[str] = []
    tried = 0
    for attack in subset.attacks:
        still = replace(shortened(attack, 4, 8), eps=0)
        try:
            found = still(few.classifier, few.x, few.y, ids=few.ids, seed=few.seed)
        except ThreatViolation:
            moved.append(attack_name(attack.label))
            continue
        except RobustkitError:
            if attack.kind != "adapter":  # a foreign attack may divide by its radius
                raise
            continue
        tried += 1
        told = found.success & (few.y != (-1 if attack.target is None else attack.target))
        steady = few.classifier.draws == 1 and _steady(few)
        if not torch.equal(found.x_adv, few.x) or (steady and bool(told.any())):
            moved.append(attack_name(attack.label))
    message = f"at eps 0, {tried} attacks return their input, and the model its clean prediction"
    if moved:
        message = f"at eps 0 {', '.join(moved)} changed inputs or predictions: the attack or the model is faulty"
    return Outcome((diagnostic("Q10", len(moved), limit, "fail" if moved else "pass", message),))


def _steady(subset: Subset) -> bool:
    with torch.no_grad():
        one, two = (subset.classifier.logits(subset.x) for _ in range(2))
    return torch.equal(one, two)


def twice_the_steps(subset: Subset) -> Outcome:
    """Q14: whether twice the steps of the best attack break more, or starts towards each of the likely classes.

    The second is made where no attack of the evaluation had such starts: climbing away from the label, an attack may
    settle where every start does, while one of the other classes was in reach.
    """
    if not subset.strong:
        return not_run(("Q14",), "no iterative gradient attack took part")
    best: Any = subset.strong[0]
    left, classes = subset.take(subset.unbroken), subset.classifier.num_classes or 2
    limit = "at most 1 % of the correct samples newly broken (by the 95 % confidence bound)"
    if not len(left):
        return Outcome((diagnostic("Q14", 0.0, limit, "pass", "no unbroken samples are left"),))
    few = left.first(max(WATCHED, len(subset) // best.starts))
    longer = int(few.attack(replace(best, steps=2 * best.steps)).sum())
    message = f"{2 * best.steps} steps of {attack_name(best.label)} break {longer} of {len(few)} unbroken samples"
    wider = 0
    aims = classes > 2 and subset.threat.target is None and not subset.threat.sparse
    if aims and not any(getattr(one, "targets", 0) for one in subset.attacks):
        aimed = APGD(**subset.common, steps=STEPS, loss="dlr", targets=min(TARGETS, classes - 1))
        wider = int(left.attack(aimed).sum())
        message += f", {attack_name(aimed.label)} {wider} of {len(left)}"
    right = int(subset.right.sum())
    share = proportion(max(longer, wider), right)
    status = judged(share, *CHANGED)
    if status != "pass":
        settled = judged(proportion(longer, right), *CHANGED) == "pass"
        fix = f"apgd:loss=dlr,targets={TARGETS}" if settled else f"steps={4 * best.steps}"
        message += f": not converged; use {fix}"
    return Outcome((diagnostic("Q14", share.value or 0.0, limit, status, message),))


def weak_attacks(subset: Subset) -> Outcome:
    """Q13, Q15 and Q16: the weak attacks that the evaluation had none of, on what its gradient attacks left."""
    if not subset.strong or subset.threat.sparse:
        why = f"there are no such attacks in {subset.threat.norm}" if subset.strong else "no iterative gradient attack"
        return not_run(("Q13", "Q15", "Q16"), f"{why} to compare with")
    kinds = {"single" if _single(attack) else attack.kind for attack in subset.attacks}
    left, common = subset.take(subset.unbroken), subset.common
    found = []
    for id, kind, what, attack in (
        ("Q13", "single", "a single step", FGSM(**common)),
        ("Q15", "black-box", f"Square with {QUERIES} queries", Square(**common, queries=QUERIES)),
        ("Q16", "control", "random noise", Noise(**common)),
    ):
        if kind not in kinds:
            found.append(missed_by_stronger(id, what, int(left.attack(attack).sum()), int(subset.right.sum())))
    return Outcome(tuple(found))


def _single(attack: Attack) -> bool:
    return attack.kind == "white-box" and attack.steps_per_start == 0


def watched(subset: Subset) -> Outcome:
    """Q17, on broken and on unbroken samples."""
    broken, unbroken = subset.take(subset.right & ~subset.unbroken), subset.take(subset.unbroken)
    few = unbroken.first(WATCHED - min(WATCHED // 2, len(broken)))
    rows = [*broken.first(WATCHED - len(few)).ids.tolist(), *few.ids.tolist()]
    if not rows:
        return not_run(("Q17",), "no sample is initially correct")
    some = subset.take(torch.isin(subset.ids, torch.tensor(rows)).to(subset.x.device))
    if not _steady(some):
        return not_run(("Q17",), f"a single EOT sample of a stochastic model proves nothing; see {check_name('Q05')}")
    found = discarded_successes(some.classifier, some.attacks, some.x, some.y, some.ids, some.seed, some.batch_size)
    return Outcome((found,))


def surface(subset: Subset) -> Outcome:
    """Q18."""
    some = subset.take(subset.right).first(SMOOTH)
    if not len(some):
        return not_run(("Q18",), "no sample is initially correct")
    threat = subset.around
    if threat.per_coordinate:
        return not_run(("Q18",), "the loss surface is looked at with one eps and one range for all coordinates only")
    ids = some.ids.to(some.x.device)
    return Outcome(
        (smooth(some.classifier, some.x, some.y, ids, threat.norm, threat.radius, some.seed, some.batch_size),)
    )


def own_gradient(subset: Subset) -> Outcome:
    """Q24, on all samples that are right."""
    some = subset.take(subset.right)
    if not len(some) or subset.classifier.draws > 1:
        return not_run(("Q24",), "a stochastic model" if len(some) else "no sample is initially correct")
    ids = some.ids.to(some.x.device)
    found = first_order(some.classifier, some.x, some.y, ids, some.around, some.seed, some.batch_size)
    told = first_order_diagnostic(found, some.y, some.unbroken)
    if told.status == "fail" and not subset.threat.sparse and len(left := subset.take(subset.unbroken)):
        told = replace(told, message=f"{told.message}; {_by_labels(subset, left.first(SURVIVORS))}")
    return Outcome((told,))


def _by_labels(subset: Subset, few: Subset) -> str:
    """Returns what an attack on labels alone, which no gradient misleads, leaves of `few` that survived the others."""
    walk = HopSkipJump(**subset.common, steps=WALK, looks=LOOKS)
    broken, survived = int(few.attack(walk).sum()), int(subset.unbroken.sum())
    least = 100 * survived * (1 - broken / len(few)) / len(subset)
    return (
        f"{attack_name(walk.label)}, which needs labels alone, breaks {broken} of {len(few)} samples that survived:"
        f" expect a robust accuracy of at most {least:.0f} %, not {100 * survived / len(subset):.0f} %, on the"
        f" {len(subset)} samples looked at"
    )


def plants(subset: Subset) -> Outcome:
    """Q20, by the two gradient attacks that broke most."""
    attacks = subset.strong[:2]
    if not attacks or subset.threat.levels is not None or subset.classifier.draws > 1 or subset.threat.sparse:
        why = "no iterative gradient attack took part"
        why = "made for a norm with a ball, fixed models and no stored levels" if attacks else why
        return not_run(("Q20",), why)
    options: dict[str, Any] = {"seed": subset.seed, "batch_size": subset.batch_size}
    found = planted(subset.classifier, subset.x, subset.y, attacks, PLANTS, ids=subset.ids, **options)
    if found.success.k < found.success.n:  # one in ten may be chance: three in thirty are not
        found = planted(subset.classifier, subset.x, subset.y, attacks, REPLANTED, ids=subset.ids, **options)
    return Outcome((found.diagnostic,))


class _Check(Protocol):
    def __call__(self, subset: Subset) -> Outcome: ...


class Probe(NamedTuple):
    """What a probe is called, which checks it alone can make, and the function that makes them."""

    name: str
    ids: tuple[str, ...]
    check: _Check
    needs_radius: bool = True
    titles: tuple[str, ...] = ()  # of its checks, where they are none of ours

    def run(self, subset: Subset) -> Outcome:
        """Returns what it found, or that it could not be made and why."""
        if self.needs_radius and not 0 < subset.threat.radius < math.inf:
            return self._not_run(f"nothing to search at eps {subset.threat.eps}")
        try:
            return self.check(subset)
        except RobustkitError as error:
            return self._not_run(str(error).splitlines()[0][:200])

    def _not_run(self, why: str) -> Outcome:
        if not self.titles:
            return not_run(self.ids, why)
        both = zip(self.ids, self.titles, strict=True)
        return Outcome(tuple(Diagnostic(id, title, None, "", "not run", why) for id, title in both))


PROBES = [
    Probe("eps 0", ("Q10",), no_radius, needs_radius=False),
    Probe("other radii", ("Q11", "Q12"), larger_radii),
    Probe("twice the steps", ("Q14",), twice_the_steps),
    Probe("weak attacks", (), weak_attacks),
    Probe("discarded successes", ("Q17",), watched),
    Probe("loss surface", ("Q18",), surface),
    Probe("gradient consistency", ("Q24",), own_gradient),
    Probe("planted adversarial examples", ("Q20",), plants),
]


def add(probe: Probe) -> None:
    """Adds a probe of one's own to those that every evaluation with probes makes from now on, in this process.

    Raises:
        ConfigurationError: If its checks have ids of ours, or not a title each.
    """
    taken = {id for known in PROBES for id in known.ids} | set(TITLES)
    if not probe.ids or taken & set(probe.ids) or len(probe.ids) != len(probe.titles):
        raise ConfigurationError(
            f"probe '{probe.name}': expected new ids, and a title for each, got {probe.ids} and"
            f" {probe.titles}; correct them"
        )
    PROBES.append(probe)
