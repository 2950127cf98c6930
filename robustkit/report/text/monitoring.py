"""What to do next, when to test again, and the gate that would notice: all from the data of the audit."""

from __future__ import annotations

import math
import shlex

from robustkit.report.document.report import Audit, Report
from robustkit.report.text import sentences
from robustkit.report.text.failures import failures
from robustkit.report.text.risks import confident_share
from robustkit.report.text.words import percent, shorten


def actions(audit: Audit) -> list[str]:
    """Returns what the findings suggest, most pressing first."""
    said = []
    if failed := failures(audit):
        ids = ", ".join(id for id, _ in failed)
        said.append(f"Mend the evaluation before any number of it is used: {ids} failed.")
    if remarks := [check.id for check in audit.diagnostics if check.status == "remark"]:
        said.append(f"Read the remarks of {', '.join(remarks)} and repeat the run where they call for it.")
    if missed := [gate.rule for gate in audit.gates if gate.status == "not met"]:
        said.append(f"Improve the model, or limit its use, until this holds: {'; '.join(missed[:3])}.")
    more = [gate for gate in audit.gates if gate.status == "undecided" and gate.needed]
    said += [f"Take about {gate.needed:,} samples to decide {shorten(gate.rule, 80)}." for gate in more[:3]]
    share = confident_share(audit)
    if share.value is not None and share.value > 0.1:
        said.append("Do not lean on the model's confidence to notice attacks: many wrong answers look certain.")
    ranked = sentences.ranked(audit)
    if ranked and ranked[0].robust.wilson[1] < (audit.worst_case.accuracy.value or 0):
        said.append(f"Look at the training data of class {shorten(ranked[0].name, 40)} first: it is the weakest.")
    kinds = [part for part in audit.verdict.coverage if "attacks" in part]
    said += [f"Before relying on the number, also run: {shorten(part, 80)}." for part in kinds]
    if not audit.subject.defences and (audit.worst_case.attack_success.value or 0) > 0.5:
        said.append("Consider adversarial training: the model declares no defence, and most answers can be changed.")
    if not said:
        said.append("Nothing in the findings calls for action beyond testing again as below.")
    return said


def triggers(report: Report, audit: Audit) -> list[str]:
    """Returns the changes after which these numbers no longer hold and the audit should be repeated."""
    versions = [f"{name} {report.environment[name]}" for name in ("torch", "robustkit") if name in report.environment]
    weights = audit.subject.weights_sha256
    return [
        "New weights" + (f": any whose SHA-256 does not begin with {weights[:12]}." if weights else "."),
        f"Another preprocessing than declared in section 2, or another precision than {audit.subject.dtype}.",
        f"New or differently distributed data; here {audit.data.n:,} samples of {shorten(audit.data.name, 40)}.",
        f"Reason to expect an attacker who may change more than {audit.threat.norm} {shorten(audit.threat.eps, 20)}.",
        "Another use, another threshold for decisions, or an incident in operation.",
        "A stronger published attack, or new versions of the tools"
        + (f" ({', '.join(versions)})." if versions else "."),
    ]


def gate(audit: Audit) -> str | None:
    """Returns a requirement that this model just meets, for the next versions to be held against.

    Its limit is the lower end of the exact interval, rounded down to a whole percent. None where the evaluation failed
    or nothing is left to hold.
    """
    limit = math.floor(100 * audit.worst_case.accuracy.clopper_pearson[0]) / 100
    if sentences.doubtful(audit) or limit <= 0:
        return None
    return f"robust_accuracy >= {limit:.2f}"


def gate_command(report: Report, audit: Audit) -> str | None:
    """Returns the command line that holds the next report against the gate, None where there is none."""
    rule = gate(audit)
    if rule is None:
        return None
    name = f" --audit {shlex.quote(audit.subject.name)}" if len(report.audits) > 1 else ""
    return f'robustkit gate report.json{name} --require "{rule}"'


def gate_reason(audit: Audit) -> str:
    """Returns why the gate stands where it stands."""
    if gate(audit) is None:
        return "No gate is suggested: the number is in doubt, or so low that nothing is left to hold."
    low = audit.worst_case.accuracy.clopper_pearson[0]
    return (
        f"The limit is the lower end of the exact interval, {percent(low)}, rounded down: this model meets it, and a "
        "later version that fails it has lost accuracy under attack. A limit for the use has to come from the use."
    )
