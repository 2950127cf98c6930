"""What is said of several audits in one report, read side by side."""

from __future__ import annotations

from robustkit.report.document.report import Report
from robustkit.report.text.sentences import noun
from robustkit.report.text.words import interval, percent


def across(report: Report) -> str:
    """Returns what is left under all threat models of a report together, and what each of them broke."""
    worst = report.across
    assert worst is not None
    counts = zip(worst.threats, worst.broken_by, worst.broken_only_by, strict=True)
    each = "; ".join(
        f"{name} broke {by:,}" + (f", {alone:,} of them alone" if alone else "") for name, by, alone in counts
    )
    return (
        f"{percent(worst.accuracy.value)} ({100 * worst.accuracy.level:g}\N{NO-BREAK SPACE}% interval"
        f" {interval(worst.accuracy)}) of the {worst.accuracy.n:,} {noun(report.audits[0])} are still classified"
        f" correctly under all {len(worst.threats)} threat models together ({', '.join(worst.threats)}). {each}."
        " Every sample was attacked under every threat model."
    )


def comparable(report: Report) -> str:
    """Returns whether the audits of a report may be read side by side."""
    if report.across is not None:
        return across(report)
    same_data = len({audit.data.sha256 for audit in report.audits}) == 1
    same_threat = len({(a.threat.norm, a.threat.eps, a.threat.goal, a.threat.target) for a in report.audits}) == 1
    if same_data and same_threat:
        return (
            "The models were evaluated on the same samples under the same threat model. Overlapping intervals do not "
            "decide whether two models differ; that takes a paired test: robustkit compare."
        )
    what = " and ".join(
        name for name, same in (("the same samples", same_data), ("the same threat model", same_threat)) if not same
    )
    return f"Read with care: the models were not evaluated on {what}, so the columns are not directly comparable."
