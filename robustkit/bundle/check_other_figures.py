"""What an audit states beside its ledger: the accuracy curve, the nearest distances, slices and members.

Nobody can make these again without an attack, but their counts and intervals have to agree with each other and with
what the ledger knows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from robustkit.attacks.threat import parse_eps
from robustkit.bundle.failure_messages import Mismatch, compare, same_number
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.slices import fisher
from robustkit.maths.intervals import Proportion, holm, proportion
from robustkit.report.document.report import AccuracyCurve, Audit, CurvePoint, Nearest, SliceRow


def check_stated(audit: Audit, ledger: Ledger, where: str) -> Iterator[Mismatch]:
    """Yields what such figures of an audit contradict: themselves, each other, or its ledger."""
    stated = {name: getattr(audit, name) for name in ("curve", "nearest", "slices", "ensemble")}
    wrong = [*_shares(stated, where)]
    yield from wrong
    if wrong:
        return  # sums of wrong shares would be said to be wrong again
    planned = audit.method.planned
    if not audit.method.early and planned not in (None, audit.data.n):
        yield Mismatch(f"{where}.method.planned", str(audit.data.n), str(planned))
    comparable = audit.threat.target is None
    if audit.curve:
        yield from _curve(audit.curve, ledger if comparable and audit.curve.norm == audit.threat.norm else None, where)
    if audit.nearest:
        near = comparable and audit.nearest.norm == audit.threat.norm and audit.data.n == len(ledger)
        yield from _nearest(audit.nearest, ledger if near else None, where)
    yield from _slices(audit, where)


def _shares(tree: Any, where: str) -> Iterator[Mismatch]:
    """Yields every share of a tree that is not k of n with the intervals of k of n."""
    if isinstance(tree, Proportion):
        if not 0 <= tree.k <= tree.n:
            yield Mismatch(f"{where}.k", f"a number from 0 to {tree.n}", str(tree.k))
            return
        right = proportion(tree.k, tree.n, tree.level)
        yield from compare(_plain(right), _plain(tree), where)
    elif isinstance(tree, dict):
        for name, part in tree.items():
            yield from _shares(part, f"{where}.{name}")
    elif isinstance(tree, (list, tuple)):
        for index, part in enumerate(tree):
            yield from _shares(part, f"{where}[{index}]")
    elif dataclasses.is_dataclass(tree):
        yield from _shares({field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}, where)


def _plain(share: Proportion) -> dict[str, Any]:
    fields = dataclasses.asdict(share)
    return {name: [*part] if isinstance(part, tuple) else part for name, part in fields.items()}


def _curve(curve: AccuracyCurve, ledger: Ledger | None, where: str) -> Iterator[Mismatch]:
    """Yields how a curve rises, or claims what the ledger refutes: a sample broken nearer than a radius."""
    closest = None if ledger is None else ledger.closest
    for index, point in enumerate(curve.points):
        place = f"{where}.curve.points[{index}]"
        if (value := float(parse_eps(point.eps))) != point.eps_value:
            yield Mismatch(f"{place}.eps_value", f"{value!r}, as its text says", repr(point.eps_value))
        if closest is not None and point.accuracy.n == len(closest):
            most = int((closest > point.eps_value).sum())
            if point.accuracy.k > most:
                yield Mismatch(f"{place}.accuracy.k", f"at most {most}, as the ledger has it", str(point.accuracy.k))
    for index, (before, after) in enumerate(pairwise(curve.points), 1):
        if not _falls(before, after):
            got = f"{after.accuracy.k} of {after.accuracy.n} at {after.eps}"
            yield Mismatch(f"{where}.curve.points[{index}]", "a larger eps and no higher accuracy", got)


def _falls(before: CurvePoint, after: CurvePoint) -> bool:
    same = before.accuracy.n == after.accuracy.n
    return same and before.eps_value < after.eps_value and before.accuracy.k >= after.accuracy.k


def _nearest(nearest: Nearest, ledger: Ledger | None, where: str) -> Iterator[Mismatch]:
    """Yields how the deciles fall, or are farther away than those of the ledger."""
    found = [np.inf if value is None else value for value in nearest.deciles]
    if len(found) != 9 or any(a > b for a, b in pairwise(found)) or not all(value >= 0 for value in found):
        yield Mismatch(f"{where}.nearest.deciles", "nine distances that do not fall", str(nearest.deciles))
        return
    tenths = np.arange(1, 10) / 10
    limits = [np.inf] * 9 if ledger is None else np.quantile(ledger.closest, tenths, method="higher").tolist()
    for index, (value, most) in enumerate(zip(found, limits, strict=True)):
        if value > most and not same_number(value, most):
            yield Mismatch(f"{where}.nearest.deciles[{index}]", f"at most {most:.6g}, as the ledger has it", str(value))


def _slices(audit: Audit, where: str) -> Iterator[Mismatch]:
    """Yields slices that do not add up to all samples, and p values that do not follow from them."""
    robust, rows = audit.worst_case.accuracy, audit.slices
    for column, values in groupby(rows, key=lambda row: row.column):
        listed = [*values]
        whole = {"clean": audit.clean, "robust": robust}
        for part, right in whole.items():
            sums = [sum(getattr(getattr(row, part), count) for row in listed) for count in ("k", "n")]
            if sums != [right.k, right.n]:
                got = f"{sums[0]} of {sums[1]}"
                yield Mismatch(f"{where}.slices: {part} of '{column}'", f"{right.k} of {right.n} in all", got)
    if audit.clean_clustered is None:  # or else the p values come from a bootstrap over origins, which are not here
        yield from _p_values(rows, robust, where)


def _p_values(rows: tuple[SliceRow, ...], robust: Proportion, where: str) -> Iterator[Mismatch]:
    p_values = [fisher(row.robust.k, row.robust.n, robust.k, robust.n) for row in rows]
    adjusted = iter(holm([p for p in p_values if p is not None]))
    for index, (row, p) in enumerate(zip(rows, p_values, strict=True)):
        expected = [p, None if p is None else next(adjusted)]
        yield from compare(expected, [row.p_value, row.p_holm], f"{where}.slices[{index}]: p values")
