"""What every view says of each attack: one place, so that none calls a figure by another's name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from robustkit.attacks.names import accuracy_name, attack_name, measured_alone
from robustkit.maths.intervals import Proportion, proportion
from robustkit.report.document.report import AttackResult, Audit


@dataclass(frozen=True)
class AttackRow:
    """One attack and its figures, named for what was measured.

    Attributes:
        result: As the report has it.
        name: Of the attack, in plain words.
        accuracy_name: Of `result.accuracy`: the attack, or "after" it where earlier attacks are counted, too.
        alone: The accuracy under this attack alone, None where it was not measured.
        success: Of the samples it went after; in reports before 1.4 of those it was given.
    """

    result: AttackResult
    name: str
    accuracy_name: str
    alone: Proportion | None
    success: Proportion


def attack_rows(audit: Audit) -> list[AttackRow]:
    """Returns the attacks of an audit in their order."""
    cascade, left, rows = audit.method.cascade, audit.worst_case.attack_success.n, []
    for place, one in enumerate(audit.attacks):
        broke = one.attack_success.k
        given = max(left, broke) if cascade else one.attack_success.n
        rows.append(
            AttackRow(
                one,
                attack_name(one.name),
                accuracy_name(one.name, cascade and place > 0),
                one.accuracy if measured_alone(place, cascade, one.params) else None,
                one.success_of_attacked or proportion(broke, given),
            )
        )
        left -= broke
    return rows


def shown_rows(audit: Audit) -> list[AttackRow]:
    """Returns the attacks for a short list: of a cascade, those in a row that broke nothing more are one."""
    rows = attack_rows(audit)
    return [*rows[:1], *_joined(rows[1:], audit.method.cascade)]


def _joined(rows: list[AttackRow], cascade: bool) -> Iterator[AttackRow]:
    for idle, several in groupby(rows, lambda row: cascade and row.result.attack_success.k == 0):
        same = [*several]
        if not idle or len(same) == 1:
            yield from same
            continue
        last, name = same[-1], f"{len(same)} more attacks"
        time = sum(row.result.seconds for row in same)
        most = max((row.success for row in same), key=lambda success: success.n)
        yield replace(
            last, result=replace(last.result, seconds=time), name=name, accuracy_name=f"after {name}", success=most
        )
