"""Checks of the evaluation itself, and the verdict on its quality that follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from robustkit.maths.intervals import Proportion

Status = Literal["pass", "remark", "fail", "not run"]
Quality = Literal["reliable", "reliable with remarks", "unreliable", "invalid"]

TITLES = {
    "Q01": "clean accuracy is as expected",
    "Q02": "inputs have the declared range and type",
    "Q03": "the model was in eval mode",
    "Q04": "predictions do not depend on batch or order",
    "Q05": "two passes give the same output",
    "Q06": "the output is what attacks need",
    "Q07": "gradients are there",
    "Q08": "every adversarial input lies inside the threat",
    "Q09": "a fresh pass confirms every verdict",
    "Q10": "a radius of zero changes nothing",
    "Q11": "accuracy falls as the radius grows",
    "Q12": "a huge radius breaks everything",
    "Q13": "many steps beat a single step",
    "Q14": "the attack has converged",
    "Q15": "black-box attacks find nothing new",
    "Q16": "random noise finds nothing new",
    "Q17": "no success was dropped on the way",
    "Q18": "the loss surface is smooth",
    "Q19": "transferred attacks find nothing new",
    "Q20": "planted adversarial inputs are found",
    "Q21": "the scale of the logits does not matter",
    "Q22": "no optimisation inside the model",
    "Q23": "the audit data were not used for tuning",
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


def complete(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Returns the diagnostics in order, each one that nobody ran entered as "not run".

    Where a check was made twice the worse answer counts, of two equally bad ones the later, and both passes are told.
    """
    by_id = {id: diagnostic(id, None, "", "not run", "not part of this evaluation") for id in TITLES}
    for item in found:
        by_id[item.id] = _worse(by_id[item.id], item)
    return tuple(by_id.values())


def judged(share: Proportion, remark: float, fail: float) -> Status:
    """Returns what a share of samples that should not be there means, chance allowed for.

    Whether even the lower end of its exact 95 % interval is above `fail`, above `remark`, or neither.
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
    diagnostics = list(diagnostics)
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
