"""What of an audit nobody can check, with model and data at hand: on the first page and in what `verify` says."""

from __future__ import annotations

from robustkit.report.document.report import Audit


def on_trust(audit: Audit) -> list[str]:
    """Returns what has to be taken on trust, one phrase each."""
    named = {
        "the defences that are named": audit.subject.defences,
        "the accuracy curve, where the ledger does not refute it": audit.curve,
        "the nearest distances, where the ledger has none nearer": audit.nearest,
        "which samples are in a slice": audit.slices,
        "how the protocol was adapted, beside its list of attacks": audit.method.changes,
        "how often and how far each feature of a table was changed": audit.table,
        "what attacks on a table found beside legal records": audit.table,
        "which samples the gallery shows": audit.gallery or audit.changed_rows,
        "names of features": audit.changed_rows,
        "who set the requirement": audit.verdict.rule,
    }
    return [
        "when, where and by which command the audit was made, and its times",
        "steps, queries, passes, loss paths and rechecked outcomes of the attacks",
        "margins, confidences, distances and rounded predictions at points that changed nothing, which are not kept",
        "checks of the evaluation measured in passing",
        *(what for what, there in named.items() if there),
    ]
