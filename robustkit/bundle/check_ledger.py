"""A ledger beside itself: who was attacked, what a margin means, and which point is the worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from robustkit.bundle.failure_messages import Findings, same_number
from robustkit.evaluation.ledger import Ledger, Mask
from robustkit.evaluation.result import Evaluation


def check_ledger(evaluation: Evaluation, file: str) -> Findings:
    """Returns where the ledger of an evaluation, in a file of that name, contradicts itself."""
    return _Check(evaluation, file).all()


class _Check:
    def __init__(self, evaluation: Evaluation, file: str) -> None:
        self.evaluation, self.file = evaluation, file
        self.ledger: Ledger = evaluation.ledger
        self.sample = self.ledger.names or [str(id) for id in self.ledger["id"]]
        self.found = Findings()

    def expect(self, column: str, right: Any, expected: str | Sequence[Any]) -> None:
        """Enters every sample that is not `right`; `expected` says what it had to be, for all or for each."""
        for row in np.flatnonzero(~np.asarray(right, dtype=bool)).tolist():
            wanted = expected if isinstance(expected, str) else expected[row]
            self.found.add(f"{self.file}: {column}", self.sample[row], wanted, self.ledger[column][row].item())

    def all(self) -> Findings:
        """Makes all checks."""
        ledger, classes = self.ledger, self.evaluation.num_classes
        unique = np.zeros(len(ledger), dtype=bool)
        unique[np.unique(ledger["id"], return_index=True)[1]] = True
        self.expect("id", unique & (ledger["id"] >= 0), "a number of its own")
        for column in ("label", "clean_prediction", "worst_prediction"):
            self.expect(column, (ledger[column] >= 0) & (ledger[column] < classes), f"a class below {classes}")
        robust = ledger.right
        for attack in ledger.attacks:
            hit = self.attack(attack, robust)
            if self.evaluation.protocol.cascade:
                robust = robust & ~hit
        self.worst()
        return self.found

    def attack(self, attack: str, robust: Mask) -> Mask:
        """Checks the entries of one attack, which was to get the samples `robust`; returns which it broke."""
        ledger, label = self.ledger, self.ledger["label"]
        predicted, gap = ledger[f"{attack}/prediction"], ledger[f"{attack}/margin"]
        attacked, target = predicted >= 0, self.evaluation.threat.target
        column = f"{attack}/prediction"
        due = ["a class, as it was due" if here else "no entry, as it was not due" for here in robust.tolist()]
        self.expect(column, attacked == robust, due)
        self.expect(column, predicted < self.evaluation.num_classes, f"a class below {self.evaluation.num_classes}")
        clear = attacked & (gap != 0) & ~np.isnan(gap)
        says = [f"{'not ' if g > 0 else ''}{y}, as its margin says" for g, y in zip(gap, label, strict=True)]
        self.expect(column, ~clear | ((gap > 0) == (predicted != label)), says)
        for name in (name for name in ledger.columns if name.rpartition("/")[0] == attack):
            self.expect(name, attacked | _blank(ledger[name]), "no entry")
        hit: Mask = attacked & ((predicted != label) if target is None else (predicted == target))
        return hit

    def worst(self) -> None:
        """Checks that the worst point is that of the largest margin, the first of several, or else the clean input."""
        ledger = self.ledger
        gaps = np.stack([np.nan_to_num(ledger[f"{attack}/margin"], nan=-np.inf) for attack in ledger.attacks])
        worst = np.where(np.isneginf(gaps.max(axis=0)), -1, gaps.argmax(axis=0)).tolist()
        self.expect("worst_attack", ledger["worst_attack"] == worst, worst)
        for name in ("prediction", "confidence", "nll", "brier"):
            # Likelihood and Brier score are entered for clean and worst points only.
            own = [f"{ledger.attacks[w]}/{name}" if w >= 0 else f"clean_{name}" for w in worst]
            own = [source if source in ledger.columns else f"worst_{name}" for source in own]
            expected = [ledger[source][row].item() for row, source in enumerate(own)]
            stated = ledger[f"worst_{name}"].tolist()
            self.expect(f"worst_{name}", [same_number(a, b) for a, b in zip(stated, expected, strict=True)], expected)


def _blank(values: npt.NDArray[Any]) -> Mask:
    blank: Mask = np.isnan(values) if values.dtype.kind == "f" else values == -1
    return blank
