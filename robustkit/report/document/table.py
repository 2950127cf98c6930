"""What a report says about an audit of a table: which features were changed, and the cheapest change that flips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robustkit.data.layout import Layout as Layout
from robustkit.data.schema import Schema as Schema
from robustkit.maths.intervals import Proportion, proportion

if TYPE_CHECKING:
    from robustkit.evaluation.record_changes import RecordChanges
    from robustkit.evaluation.result import Evaluation

SHOWN = 5  # of the cheapest changes


@dataclass(frozen=True)
class Move:
    """One feature: in how many records it was changed, and by how much in its own unit, without the sign.

    `median` and `most` are over the records in which it was; of a category they are 1. `eps` is as it was given.
    """

    feature: str
    eps: str
    changed: int
    median: float
    most: float


@dataclass(frozen=True)
class Cell:
    """One value of a record before and after, as the table has them."""

    feature: str
    before: str
    after: str


@dataclass(frozen=True)
class Flip:
    """One change that flips the decision about a sample; `record` is the changed record as the model takes it."""

    id: int
    before: str
    after: str
    cost: float
    cells: tuple[Cell, ...]
    record: tuple[float, ...]


@dataclass(frozen=True)
class Changes:
    """What breaks the samples that were broken, after every change was undone that was not needed.

    Attributes:
        samples: How many were looked at.
        moves: The features that were changed, most often first.
        cheapest: The cheapest changes, ascending by cost: sizes in the features' own units times the cost of each.
    """

    samples: int
    moves: tuple[Move, ...]
    cheapest: tuple[Flip, ...]


@dataclass(frozen=True)
class Table:
    """An audit of a table with a schema.

    `relaxed` is the robust accuracy if changes need not be legal records: numbers not whole, categories mixed. `lost`
    counts the samples that such changes break and legal ones, as far as was found, do not.
    """

    relaxed: Proportion
    lost: int
    changes: Changes | None = None


def table_of(evaluation: Evaluation, changes: Changes | None) -> Table | None:
    """Returns what a report says about a table; None where the data have no schema."""
    if evaluation.threat.schema is None:
        return None
    ledger = evaluation.ledger
    relaxed = proportion(int(ledger.robust_relaxed.sum()), len(ledger))
    return Table(relaxed=relaxed, lost=int((ledger.robust & ~ledger.robust_relaxed).sum()), changes=changes)


def changes_of(found: RecordChanges, schema: Schema, names: Sequence[str], labels: Sequence[int]) -> Changes:
    """Returns what a report says about changes of records.

    Args:
        found: The changes.
        schema: Of the table.
        names: Of the classes.
        labels: What each of the samples was rightly said to be.
    """
    sizes = np.abs(found.changes)
    moves = [
        Move(one.name, one.said, int((of > 0).sum()), float(np.median(of[of > 0])), float(of.max()))
        for one, of in zip(schema.features, sizes.T, strict=True)
        if (of > 0).any()
    ]
    order = np.argsort(found.costs, kind="stable")[:SHOWN].tolist()
    return Changes(
        samples=len(found.ids),
        moves=tuple(sorted(moves, key=lambda move: -move.changed)),
        cheapest=tuple(
            Flip(
                id=int(found.ids[row]),
                before=names[labels[row]],
                after=names[int(found.predictions[row])],
                cost=float(found.costs[row]),
                cells=cells(schema, found.x[row].tolist(), found.records[row].tolist()),
                record=tuple(found.records[row].tolist()),
            )
            for row in order
        ),
    )


def cells(schema: Schema, x: Sequence[float], record: Sequence[float]) -> tuple[Cell, ...]:
    """Returns the values in which two records differ."""
    return tuple(
        Cell(one.name, one.shown(x), one.shown(record))
        for one in schema.features
        if any(x[place] != record[place] for place in one.places)
    )
