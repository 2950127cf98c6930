"""Checks of the evaluation itself, and the quality that follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from robustkit.base.settings import every, items
from robustkit.maths.intervals import Proportion

Status = Literal["pass", "remark", "fail", "not run"]
Quality = Literal["reliable", "reliable with remarks", "unreliable", "invalid"]

NAMES = {
    "Q01": "clean accuracy check",
    "Q02": "input range check",
    "Q03": "eval mode check",
    "Q04": "batch independence check",
    "Q05": "determinism check",
    "Q06": "output type check",
    "Q07": "gradient check",
    "Q08": "threat model check",
    "Q09": "re-evaluation check",
    "Q10": "zero radius check",
    "Q11": "increasing radius check",
    "Q12": "unbounded eps check",
    "Q13": "single step check",
    "Q14": "convergence check",
    "Q15": "black-box check",
    "Q16": "random noise check",
    "Q17": "discarded success check",
    "Q18": "loss surface check",
    "Q19": "transfer check",
    "Q20": "planted adversarial examples check",
    "Q21": "logit scale check",
    "Q22": "test-time optimisation check",
    "Q23": "data leakage check",
    "Q24": "gradient consistency check",
}
TITLES = {
    "Q01": "clean accuracy is as expected",
    "Q02": "inputs have the declared range and type",
    "Q03": "model in eval mode",
    "Q04": "predictions independent of batch composition and order",
    "Q05": "two passes give the same output",
    "Q06": "output suitable for attacks",
    "Q07": "non-zero, finite gradients",
    "Q08": "every adversarial input lies inside the threat model",
    "Q09": "a second pass confirms every outcome",
    "Q10": "a radius of zero changes nothing",
    "Q11": "accuracy falls as the radius grows",
    "Q12": "accuracy reaches chance at unbounded eps",
    "Q13": "iterative attacks beat a single step",
    "Q14": "the attacks have converged",
    "Q15": "black-box attacks find nothing new",
    "Q16": "random noise finds nothing new",
    "Q17": "no successful point was discarded",
    "Q18": "smooth loss surface",
    "Q19": "transfer attacks find nothing new",
    "Q20": "planted adversarial examples are found",
    "Q21": "logit scale does not matter",
    "Q22": "no optimisation at test time",
    "Q23": "audit data not used for tuning",
    "Q24": "gradients are those of the model's function",
}
_INVALIDATING = {"Q01", "Q02", "Q04", "Q08", "Q09", "Q10"}
_STRENGTH = {f"Q{number}" for number in range(11, 21)}


@dataclass(frozen=True)
class Diagnostic:
    """One check of the evaluation itself: what was measured, the limit, and what it means."""

    id: str
    title: str
    value: str | int | float | None
    limit: str
    status: Status
    message: str


def diagnostic(id: str, value: str | int | float | None, limit: str, status: Status, message: str) -> Diagnostic:
    """Returns the diagnostic `id` under its title."""
    return Diagnostic(id, TITLES[id], value, limit, status, message)


def check_name(id: str) -> str:
    """Returns the id of a check with its plain name, such as "Q07 gradient check"."""
    return f"{id} {NAMES[id]}" if id in NAMES else id


def complete(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Returns the diagnostics in order, each one that nobody ran entered as "not run".

    Where a check was made twice the worse outcome counts, of two equally bad ones the later; two passes are both told.
    """
    by_id = {id: diagnostic(id, None, "", "not run", "not part of this evaluation") for id in TITLES}
    for item in found:
        by_id[item.id] = _worse(by_id[item.id], item) if item.id in by_id else item
    return tuple(by_id.values())


def judged(share: Proportion, remark: float, fail: float) -> Status:
    """Returns what it means that a share of the samples should not be there.

    It is judged by the lower bound of its exact 95 % interval: above `fail`, above `remark`, or neither.
    """
    least = share.clopper_pearson[0] if share.n else 0.0
    return "fail" if least > fail else "remark" if least > remark else "pass"


_SEVERITY: tuple[Status, ...] = ("not run", "pass", "remark", "fail")


def _worse(one: Diagnostic, other: Diagnostic) -> Diagnostic:
    apart = _SEVERITY.index(other.status) - _SEVERITY.index(one.status)
    if apart > 0 or one.status == "not run":
        return other
    if apart < 0 or f"; {other.message};" in f"; {one.message};":  # it may hold the other already
        return one
    if one.status != "pass":
        return other
    return replace(other, message=f"{one.message}; {other.message}")


def quality(diagnostics: Iterable[Diagnostic]) -> Quality:
    """Returns how far the evaluation can be trusted.

    A failed check of input, invariance or verification makes it invalid, any other failed check unreliable, and so do
    remarks on two or more checks of attack strength (Q11-Q20): one may be chance. A remark, or three or more of those
    checks that were not run, leave a remark.
    """
    diagnostics = items("quality", "diagnostics", diagnostics)
    every("quality", "diagnostics", diagnostics, Diagnostic)
    status = {item.id: item.status for item in diagnostics}
    if against := {item.id for item in reasons(diagnostics)}:
        failed = {id for id in against if status[id] == "fail"}
        return "invalid" if failed & _INVALIDATING else "unreliable"
    unknown = sum(status.get(id, "not run") == "not run" for id in _STRENGTH)
    return "reliable with remarks" if unknown >= 3 or "remark" in status.values() else "reliable"


def reasons(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Returns the checks that keep an evaluation from being reliable: those that failed, or else two or more doubts."""
    diagnostics = list(diagnostics)
    failed = tuple(item for item in diagnostics if item.status == "fail")
    doubts = tuple(item for item in diagnostics if item.status == "remark" and item.id in _STRENGTH)
    return failed or (doubts if len(doubts) > 1 else ())
