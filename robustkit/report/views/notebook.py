"""A report in a notebook: the headline of every audit."""

from __future__ import annotations

from html import escape

from robustkit.base.settings import instance
from robustkit.evaluation.notebook_card import card
from robustkit.report.document.report import Audit, Report
from robustkit.report.text import sentences
from robustkit.report.text.words import shorten


def report_card(report: Report) -> str:
    """Returns the audits of a report, one card each."""
    instance("report", "the report", report, Report)
    title = escape(shorten(report.title, 120))
    heading = f'<div style="font:600 1.3em system-ui,sans-serif;margin-bottom:.4em">{title}</div>'
    return heading + "".join(f'<div style="margin-bottom:1em">{_audit(audit)}</div>' for audit in report.audits)


def _audit(audit: Audit) -> str:
    doubt = sentences.doubtful(audit)
    rule = f" ({audit.verdict.rule})" if audit.verdict.rule else ""
    return card(
        shorten(audit.subject.name, 80),
        [
            *([] if doubt else [sentences.plain_sentence(audit)]),
            f"Requirement: {shorten(audit.verdict.requirement + rule, 120)}. Evaluation: {sentences.reliable(audit)}, "
            f"{sentences.checks(audit)}. {shorten(sentences.basis(audit), 200)}",
            f"Attacks: {shorten(sentences.attacks(audit), 400)}.",
        ],
        [("clean accuracy", audit.clean, False), ("robust accuracy", audit.worst_case.accuracy, True)],
        doubt,
    )
