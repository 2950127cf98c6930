"""What to do next, when to test again, and a gate for later versions: all from the data of the audit."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from robustkit.checks.diagnostic import check_name
from robustkit.report.document.report import Audit, Report
from robustkit.report.text import next_commands, sentences
from robustkit.report.text.failed_checks import failed_checks
from robustkit.report.text.risks import found
from robustkit.report.text.words import percent, shorten


@dataclass(frozen=True)
class Step:
    """What to do next, and the command line that does it where there is one."""

    text: str
    command: str | None = None


def steps(report: Report, audit: Audit) -> list[Step]:
    """Returns what the findings suggest, most pressing first; every command works in the folder of the report."""
    more, model = [*_about_what_is_missing(report, audit)], [*_about_the_model(report, audit)]
    # What else could lower the number is pressing only where it is not low already.
    middle = [*model, *more] if _mostly_broken(audit) else [*more, *model]
    return [*_about_the_number(report, audit), *middle, *_afterwards(report, audit)]


def _about_the_number(report: Report, audit: Audit) -> Iterator[Step]:
    if failed := failed_checks(audit):
        checks = ", ".join(name for name, _ in failed)
        yield Step(f"Fix the evaluation before using any of its numbers. Failed: {checks}.")
    if remarks := [check_name(check.id) for check in audit.diagnostics if check.status == "remark"]:
        yield Step(f"Read the remarks and repeat the run if they ask for it: {', '.join(remarks)}.")
    more = [gate for gate in audit.gates if gate.status == "undecided" and gate.needed]
    for gate in sorted(more, key=lambda gate: gate.needed or 0)[-1:]:
        text = f"Evaluate about {gate.needed:,} samples to decide {shorten(gate.rule, 80)}."
        yield Step(text, next_commands.with_samples(report.command, gate.needed or 0))
    if any(not row.clean.n for row in audit.per_class):
        yield Step("Add samples of every class before relying on the total: some classes have none.")


def _about_what_is_missing(report: Report, audit: Audit) -> Iterator[Step]:
    for part in audit.verdict.coverage:
        if "attacks" in part:
            # The protocol has a black-box attack; a transfer needs a surrogate, which nobody but the reader has.
            stronger = next_commands.with_protocol(report.command, "autoattack") if "black-box" in part else None
            surrogate = " (audit --surrogate MODEL)" if "transfer" in part else ""
            yield Step(f"Before relying on this number, also run {shorten(part, 80)}{surrogate}.", stronger)


def _about_the_model(report: Report, audit: Audit) -> Iterator[Step]:
    if missed := [gate.rule for gate in audit.gates if gate.status == "not met"]:
        yield Step(f"Improve the model or limit its use until this holds: {'; '.join(missed[:3])}.")
    if not audit.subject.defences and _mostly_broken(audit):
        text = "Consider adversarial training: the model declares no defence, and most samples can be broken."
        yield Step(text, next_commands.training(report.command))
    named = {risk.name for risk in found(audit)}
    if "Confident errors under attack" in named:
        yield Step("Do not rely on the model's confidence to detect attacks: many wrong predictions are confident.")
    ranked = sentences.ranked(audit)
    if ranked and "One class is weaker than the rest" in named:
        yield Step(f"Start with the training data of class {shorten(ranked[0].name, 40)}, the weakest one.")


def _mostly_broken(audit: Audit) -> bool:
    return (audit.worst_case.attack_success.value or 0) > 0.5


def _afterwards(report: Report, audit: Audit) -> Iterator[Step]:
    if command := gate_command(report, audit):
        yield Step("Hold later versions to what this one reached.", command)
    yield Step("With model and data at hand, check this report independently.", "robustkit verify . --attack-again 64")


def triggers(report: Report, audit: Audit) -> list[str]:
    """Returns the changes after which these numbers no longer hold and the audit should be repeated."""
    versions = [f"{name} {report.environment[name]}" for name in ("torch", "robustkit") if name in report.environment]
    weights = audit.subject.weights_sha256
    return [
        "New weights" + (f": any whose SHA-256 does not begin with {weights[:12]}." if weights else "."),
        f"A change of the preprocessing declared in section 2, or of the precision ({audit.subject.dtype}).",
        f"New or differently distributed data (here {audit.data.n:,} samples of {shorten(audit.data.name, 40)}).",
        f"Evidence of attackers who may exceed {audit.threat.norm} {shorten(audit.threat.eps, 20)}.",
        "A new use, a new decision threshold, or an incident in operation.",
        "A stronger published attack, or new versions of the tools"
        + (f" ({', '.join(versions)})." if versions else "."),
    ]


def gate(audit: Audit) -> str | None:
    """Returns a requirement that this model just meets, for later versions to be checked against.

    Its limit is the lower bound of the exact interval, rounded down to a whole percent. None where the evaluation
    failed or the limit would be 0.
    """
    limit = math.floor(100 * audit.worst_case.accuracy.clopper_pearson[0]) / 100
    if sentences.doubtful(audit) or limit <= 0:
        return None
    return f"robust_accuracy >= {limit:.2f}"


def gate_command(report: Report, audit: Audit) -> str | None:
    """Returns the command line that checks the next report against the gate, None where there is none."""
    rule = gate(audit)
    if rule is None:
        return None
    name = f" --audit {shlex.quote(audit.subject.name)}" if len(report.audits) > 1 else ""
    return f'robustkit gate report.json{name} --require "{rule}"'


def gate_reason(audit: Audit) -> str:
    """Returns why the limit of the gate is what it is."""
    if gate(audit) is None:
        return "No gate is suggested: the number is unreliable, or too low for a limit above 0."
    low = audit.worst_case.accuracy.clopper_pearson[0]
    return (
        f"The limit is the lower bound of the exact interval, {percent(low)}, rounded down. This model meets it; a "
        "later version that does not has lost accuracy under attack. Acceptance limits must come from the application."
    )
