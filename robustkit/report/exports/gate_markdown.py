"""What the gates say, as Markdown for a pull request or a job summary."""

from __future__ import annotations

from robustkit.report.document.report import Audit, GateResult, Report
from robustkit.report.requirements.gates import answer
from robustkit.report.requirements.measures import measures
from robustkit.report.text import sentences, words

SIGNS = {
    "met": "\N{WHITE HEAVY CHECK MARK}",
    "not met": "\N{CROSS MARK}",
    "undecided": "\N{WHITE QUESTION MARK ORNAMENT}",
}
_LINES, _ORDER = 60, ("not met", "undecided", "met")
_text = words.markdown


def render_gates(report: Report, base: Report | None = None) -> str:
    """Returns the results of all gates in at most 60 lines, those not met first.

    Args:
        report: Its audits hold the gates' results.
        base: What to compare the figures with, the report of the main branch say.
    """
    trusted = not any(sentences.doubtful(audit) for audit in report.audits)
    overall = answer([gate for audit in report.audits for gate in audit.gates]) if trusted else "evaluation unreliable"
    shown = report.audits[:4]  # nine lines each, and the rows of the tables
    rows = max((_LINES - 10 - 9 * len(shown)) // (len(shown) * (2 if base else 1)), 1)
    lines = [f"## Robustness gate: {overall}", ""]
    for audit in shown:
        lines += _audit(audit, rows)
        if base:
            lines += _change(audit, base, rows)
    if len(report.audits) > len(shown):
        lines += [f"{len(report.audits) - len(shown)} more models are in the report.", ""]
    lines.append(f"{_text(report.tool)}, report {_text(report.id)}, result SHA-256 `{report.result_sha256[:16]}`.")
    return "\n".join(lines) + "\n"


def _audit(audit: Audit, rows: int) -> list[str]:
    doubt, threat = sentences.doubtful(audit), audit.threat
    about = f"{_text(audit.data.name, 40)}, n = {audit.data.n:,}, {threat.norm} {_text(threat.eps)}"
    basis = _text(sentences.basis(audit), 200)
    lines = [f"**{_text(audit.subject.name, 80)}** on {about}: {audit.verdict.requirement}. {basis}"]
    if doubt:
        failed = ", ".join(check.id for check in audit.diagnostics if check.status == "fail")
        lines += ["", f"**The evaluation is {doubt}** ({failed} failed): no requirement counts as met."]
    gates = sorted(audit.gates, key=lambda gate: _ORDER.index(gate.status))
    holm = any(gate.p_holm is not None for gate in gates)
    more = (" p | p (Holm) |", "--:|--:|") if holm else ("", "")
    lines += ["", f"| Requirement | Result | What was found |{more[0]}", f"|---|---|---|{more[1]}"]
    lines += [_row(gate, holm) for gate in gates[:rows]]
    if len(gates) > rows:
        lines.append(f"| {len(gates) - rows} more | | |{' | |' if holm else ''}")
    return [*lines, ""]


def _row(gate: GateResult, holm: bool) -> str:
    cells = [_text(gate.rule, 80), f"{SIGNS[gate.status]} {gate.status}", _text(gate.message, 300)]
    if holm:
        cells += [_text(words.p_value(p)) for p in (gate.p_value, gate.p_holm)]
    return f"| {' | '.join(cells)} |"


def _change(audit: Audit, base: Report, rows: int) -> list[str]:
    """The figures of the gates now and in the base report."""
    before = next((one for one in base.audits if one.subject.name == audit.subject.name), None)
    if before is None and len(base.audits) == 1:
        before = base.audits[0]
    if before is None:
        return ["The base report does not have this model.", ""]
    old, new = measures(before), measures(audit)
    names = dict.fromkeys(["clean_accuracy", "robust_accuracy", *(gate.rule.rsplit(" ", 2)[0] for gate in audit.gates)])
    lines = ["| Figure | Base | Now | Change |", "|---|--:|--:|--:|"]
    for name in [name for name in names if name in new][:rows]:
        then, now = old[name].value if name in old else None, new[name].value
        say = words.percent if new[name].hits else words.decimal
        change = words.EMPTY
        if then is not None and now is not None:
            share = new[name].hits is not None
            change = f"{words.signed(100 * (now - then), 1)} points" if share else words.signed(now - then, 3)
        lines.append(f"| {_text(name)} | {say(then)} | {say(now)} | {change} |")
    same = before.data.sha256 == audit.data.sha256
    note = (
        "Same samples in both: `robustkit compare` tells whether a change is more than chance."
        if same
        else "The base was measured on other samples, so part of a change is the choice of samples."
    )
    if (before.threat.norm, before.threat.eps) != (audit.threat.norm, audit.threat.eps):
        note = f"The base was measured under another threat: {before.threat.norm} {_text(before.threat.eps)}."
    return [*lines, "", note, ""]
