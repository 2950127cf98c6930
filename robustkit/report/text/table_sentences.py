"""What the pages say about the audit of a table."""

from __future__ import annotations

from robustkit.report.document.report import Audit
from robustkit.report.document.table import Changes, Flip
from robustkit.report.text import words


def legal(audit: Audit) -> str:
    """Returns what counts, and what would be found without that."""
    assert audit.table is not None
    lost = audit.table.lost
    more = (
        "no further sample"
        if not lost
        else f"{lost:,} more sample{'s' if lost > 1 else ''}, which rounding to a legal record left unbroken"
    )
    return (
        "Every adversarial example is a legal record of the schema: whole numbers, one choice of each category, no"
        " change that it forbids. Attacks that use gradients search in between, too, where numbers need not be whole"
        f" and categories are mixed; there they broke {more}. Robust accuracy would be"
        f" {words.percent(audit.table.relaxed.value)} if such changes counted."
    )


def undone(changes: Changes) -> str:
    """Returns what was looked at, and how."""
    return (
        f"Changes that flip the decision about {changes.samples:,} broken sample{'s' if changes.samples != 1 else ''},"
        " after each change that was not needed was undone. Cost: the size of a change in the feature's own unit times"
        " its cost in the schema, by default 1 for a change by all of its eps. Cheaper changes may exist."
    )


def flipped(flip: Flip) -> str:
    """Returns one of the cheapest changes in words."""
    parts = (f"{cell.feature} {cell.before} to {cell.after}" for cell in flip.cells)
    return f"sample {flip.id}, from {flip.before} to {flip.after}: {'; '.join(parts)} (cost {flip.cost:.4g})"
