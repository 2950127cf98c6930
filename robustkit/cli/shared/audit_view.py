"""An audit on the screen: its table, the notes below, its requirements and what to complain about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from robustkit.attacks.names import attack_name
from robustkit.checks.diagnostic import reasons
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.terminal import STATUS_COLOURS, accuracy, counts, percent, plain_table, print_titled
from robustkit.report.text import sentences, words
from robustkit.report.text.attack_rows import shown_rows

if TYPE_CHECKING:
    from robustkit.report import Audit


def print_audit(console: Console, audit: Audit) -> None:
    """Prints accuracies and notes of an audit."""
    title = f"{audit.subject.name} on {audit.data.name}, {audit.threat.norm} {audit.threat.eps}"
    print_titled(console, title, audit_table(audit, console.width))
    for note in notes(audit):
        console.print(Padding(note, (0, 0, 0, 2), expand=False))


def audit_table(audit: Audit, width: int = 80) -> Table:
    """Returns clean accuracy, every attack and the worst case; on a narrow screen the accuracies alone."""
    wide = width >= 70
    columns = ("", "accuracy, 95 % interval", "correct", *(("success", "time") if wide else ()))
    table = plain_table(*columns, left=columns[:2], narrow=not wide)
    table.columns[0].overflow = "fold"
    worst, seconds = audit.worst_case, sum(attack.seconds for attack in audit.attacks)
    table.add_row("clean", accuracy(audit.clean), counts(audit.clean))
    rows = [
        (Text(_short(row.accuracy_name, wide)), row.result.accuracy, row.success, row.result.seconds)
        for row in shown_rows(audit)
    ]
    rows.append((Text("robust", style="bold"), worst.accuracy, worst.attack_success, seconds))
    for name, correct, success, time in rows:
        more = (percent(success.value), f"{time:.1f} s") if wide else ()
        table.add_row(name, accuracy(correct), counts(correct), *more)
    return table


def _short(name: str, wide: bool) -> str:
    """Returns the name of an accuracy for a narrow column; the report has it in full."""
    name = re.sub(r"\(near-boundary samples(; )?", "(", name)
    return re.sub(r" \(\)$" if wide else r" \(.*\)$", "", name)


def notes(audit: Audit) -> Iterator[Text]:
    """Yields calibration, the quality of the evaluation and what else was measured, a line each."""
    pair, quality = audit.calibration, audit.verdict.quality
    calibrated = f"(calibrated: {pair.clean.ece_if_calibrated.mean:.3f}, {pair.attacked.ece_if_calibrated.mean:.3f})"
    yield Text.assemble(
        f"ECE {pair.clean.ece.value:.3f} clean, {pair.attacked.ece.value:.3f} under attack ", (calibrated, "dim")
    )
    colour = {"reliable": "green", "reliable with remarks": "yellow"}.get(quality, "bold red")
    colour = colour if sentences.is_standard(audit) or sentences.doubtful(audit) else "yellow"
    yield Text.assemble(
        "evaluation ",
        (sentences.reliable(audit), colour),
        f". {sentences.basis(audit)}",
    )
    yield Text.assemble(f"attacks: {sentences.attacks(audit)}", (f" ({audit.method.fingerprint})", "dim"))
    if audit.worst_case.anytime is not None:
        low, high = audit.worst_case.anytime
        yield Text(
            f"{audit.data.selection}; interval {100 * low:.1f}-{100 * high:.1f} %, corrected for optional stopping"
        )
    if audit.worst_case.stored is not None:
        yield Text(f"robust accuracy with points rounded to 8 bits {audit.worst_case.stored}")
    if audit.curve:
        path = ", ".join(f"{percent(point.accuracy.value or 0)} at {point.eps}" for point in audit.curve.points)
        yield Text(f"robustness curve ({audit.curve.protocol}; {audit.curve.points[0].accuracy.n} samples): {path}")
    if audit.nearest and (median := audit.nearest.deciles[4]) is not None:
        by = ", ".join(map(attack_name, audit.nearest.attacks))
        yield Text(f"half of the samples were broken within {audit.nearest.norm} {median:.4g} ({by})")
    for item in audit.diagnostics:
        if item.status in ("remark", "fail"):
            yield Text.assemble((f"{item.id} {item.title}, {item.status}: ", STATUS_COLOURS[item.status]), item.message)


def print_gates(console: Console, audit: Audit) -> None:
    """Prints every requirement with its answer and what it rests on."""
    colours = {"met": "green", "not met": "bold red", "undecided": "yellow"}
    doubt = sentences.doubtful(audit)
    table = plain_table("", "", left=[""])
    table.show_header = False
    for gate in audit.gates:
        found = Text.assemble(gate.rule, "\n", (gate.message, "dim"))
        if gate.p_holm is not None:
            found.append(f"; p {words.p_value(gate.p_value)}, with Holm's {words.p_value(gate.p_holm)}", "dim")
        table.add_row(Text(gate.status, style=colours[gate.status]), found)
    print_titled(console, f"{audit.subject.name}: {audit.verdict.requirement}{f' ({doubt})' if doubt else ''}", table)


def complain(audits: Sequence[Audit]) -> None:
    """Says on standard error, in a line for each model, why the exit code is not 0."""
    for audit in audits:
        if audit.verdict.quality in ("unreliable", "invalid"):
            why = ", ".join(f"{item.id} {item.status} ({item.title})" for item in reasons(audit.diagnostics))
            say(f"robustkit: the evaluation is {audit.verdict.quality}: {why}", err=True)
        elif audit.verdict.requirement in ("not met", "undecided"):
            open_ones = ", ".join(gate.rule for gate in audit.gates if gate.status == audit.verdict.requirement)
            say(f"robustkit: {audit.verdict.requirement}: {open_ones}", err=True)
