"""What a check found to be false, in words: one line for each kind of thing, however often it occurs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from robustkit.report.document.report import Audit

_SAME = 1e-9  # relative difference that sums in another order may make
_AUDIT = TypeAdapter(Audit)
_TEXTS = {"title", "limit", "message", "coverage", "attacked_made_by"}  # fields of an audit that hold prose


@dataclass(frozen=True)
class Mismatch:
    """One false claim: which file and what in it, what it had to be, what it is, and how many more like it there are.

    With `edge` it is a remark instead: no more than the arithmetic of another machine may do.
    """

    where: str
    expected: str
    got: str
    more: int = 0
    edge: bool = False

    def __str__(self) -> str:
        """Returns it in one line."""
        others = f" (and {self.more} more)" if self.more else ""
        return f"{self.where}: expected {self.expected}, got {self.got}{others}"


@dataclass
class Findings:
    """Collects mismatches; of those about the same thing the first is kept and the others are counted."""

    found: dict[tuple[str, bool], Mismatch] = field(default_factory=dict)

    def add(self, thing: str, sample: str, expected: Any, got: Any, edge: bool = False) -> None:
        """Notes that `thing` ("ledger.csv: pgd/margin", say) of a sample is not as expected."""
        first = self.found.get((thing, edge))
        if first is None:
            self.found[thing, edge] = Mismatch(f"{thing} of sample {sample}", text(expected), text(got), edge=edge)
        else:
            self.found[thing, edge] = dataclasses.replace(first, more=first.more + 1)

    def __iter__(self) -> Iterator[Mismatch]:
        return iter(self.found.values())


def text(value: Any) -> str:
    """Returns a value as it is printed in a finding: floats to six digits, long texts cut."""
    shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def same_number(a: float, b: float) -> bool:
    """Returns whether two numbers agree but for the order of a sum."""
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= _SAME * max(abs(a), abs(b), 1e-3)


def compare_audits(derived: Audit, stated: Audit, where: str, texts: bool = True) -> Iterator[Mismatch]:
    """Yields every field of an audit that is not what it was derived to be; without `texts`, all but prose."""
    expected, got = (_AUDIT.dump_python(audit, mode="json") for audit in (derived, stated))
    if not texts:
        expected, got = _without_texts(expected), _without_texts(got)
    yield from compare(expected, got, where)


def _without_texts(tree: Any, prose: bool = False) -> Any:
    if isinstance(tree, dict):
        return {key: _without_texts(item, key in _TEXTS) for key, item in tree.items()}
    if isinstance(tree, list) and not (prose and all(isinstance(item, str) for item in tree)):
        return [_without_texts(item) for item in tree]
    return None if prose and isinstance(tree, (str, list)) else tree


def compare(expected: Any, got: Any, where: str) -> Iterator[Mismatch]:
    """Yields where two trees of plain data differ."""
    if isinstance(expected, dict) and isinstance(got, dict) and expected.keys() == got.keys():
        for key in expected:
            yield from compare(expected[key], got[key], f"{where}.{key}")
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for index, pair in enumerate(zip(expected, got, strict=True)):
            yield from compare(*pair, f"{where}[{index}]")
    elif isinstance(expected, float) and isinstance(got, float):
        if not same_number(expected, got):
            yield Mismatch(where, repr(expected), repr(got))
    elif type(expected) is not type(got) or expected != got:
        yield Mismatch(where, _in_short(expected), _in_short(got))


def _in_short(value: Any) -> str:
    return f"{len(value)} entries" if isinstance(value, (list, dict)) else text(value)
