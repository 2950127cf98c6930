"""`robustkit gate`: holds a report against requirements and answers with an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustkit.base.errors import ConfigurationError, suggest

if TYPE_CHECKING:
    from rich.table import Table

    from robustkit.report import Audit, Report

REQUIRE = click.option(
    "--require",
    "rules",
    multiple=True,
    metavar="RULE",
    help='Such as "robust_accuracy>=0.45", judged on the end of its interval; may be repeated.',
)


@click.command("gate", short_help="Hold a report against requirements; the exit code is the answer.")
@click.argument("source", metavar="REPORT", type=click.Path(path_type=Path))
@REQUIRE
@click.option("--audit", "name", metavar="NAME", help="Judge only this model of the report.")
@click.option("--base", type=click.Path(path_type=Path), help="Another report: show what changed since, in Markdown.")
@click.option("--markdown", metavar="FILE", help="At most 60 lines for a pull request; - for standard output.")
@click.option("--junit", type=click.Path(path_type=Path), help="JUnit XML to write.")
@click.option("--sarif", type=click.Path(path_type=Path), help="SARIF 2.1.0 to write.")
def command(
    source: Path,
    rules: tuple[str, ...],
    name: str | None,
    base: Path | None,
    markdown: str | None,
    junit: Path | None,
    sarif: Path | None,
) -> int:
    """Hold REPORT, a report.json or its folder, against requirements; those of the audit itself if none are given.

    A rule is NAME>=LIMIT or NAME<=LIMIT. Names: clean_accuracy, robust_accuracy, attack_success_rate, accuracy[ATTACK],
    robust_accuracy[CLASS], robust_accuracy[COLUMN=VALUE] for slices, robust_accuracy[eps=4/255] on the curve, ece,
    brier, nll, aurc, confident_errors, ... and the same with _attacked.

    "At least" is met where the one-sided 95 % lower bound reaches the limit, not met where even the upper bound is
    below, and undecided in between.

    \b
    Exit codes: 0 met, 1 not met, 2 usage, 3 evaluation invalid or unreliable, 4 undecided.

    \b
    Example:
      robustkit gate robustkit-report --require "robust_accuracy>=0.45" --require "ece<=5%" \\
          --junit gate.xml --markdown - >> "$GITHUB_STEP_SUMMARY"
    """
    import dataclasses

    from robustkit.base.write_file import write_atomically
    from robustkit.cli.shared import screen
    from robustkit.report import load
    from robustkit.report.exports.gate_markdown import render_gates
    from robustkit.report.exports.junit import render_junit
    from robustkit.report.exports.sarif import render_sarif
    from robustkit.report.requirements.gates import Requirement, exit_code, judged

    requirements = [Requirement.parse(rule) for rule in rules]
    path = report_path(source)
    report, other = load(path), None if base is None else load(report_path(base))
    audits = chosen(report, name)
    if requirements:
        audits = tuple(judged(audit, requirements) for audit in audits)
    elif not any(audit.gates for audit in audits):
        raise ConfigurationError('gate: expected --require, got none; for example --require "robust_accuracy>=0.45"')
    report = dataclasses.replace(report, audits=audits)
    files = {
        junit: render_junit(report) if junit else "",
        sarif: render_sarif(report, path) if sarif else "",
        None if markdown in (None, "-") else Path(markdown): render_gates(report, other) if markdown else "",
    }
    for file, text in files.items():
        if file is not None:
            write_atomically(file, text)
    if markdown == "-":
        click.echo(render_gates(report, other), nl=False)
    else:
        console = screen.out()
        for audit in audits:
            console.print(gates_table(audit))
    complain(audits)
    return exit_code(audits)


def report_path(source: Path) -> Path:
    """Returns the report.json that a path to it or to its folder means."""
    return source / "report.json" if source.is_dir() else source


def chosen(report: Report, name: str | None, option: str = "--audit") -> tuple[Audit, ...]:
    """Returns the audits of a report, or only the one called `name`.

    Raises:
        ConfigurationError: If no audit has that name.
    """
    if name is None:
        return report.audits
    known = [audit.subject.name for audit in report.audits]
    if name not in known:
        raise ConfigurationError(f"{option}: expected the name of a model in it, got {name!r}{suggest(name, known)}")
    return (report.audits[known.index(name)],)


def gates_table(audit: Audit) -> Table:
    """Returns every requirement with its answer and what it rests on."""
    from rich.text import Text

    from robustkit.cli.shared import screen
    from robustkit.report.text import sentences, words

    colours = {"met": "green", "not met": "bold red", "undecided": "yellow"}
    doubt = sentences.doubtful(audit)
    table = screen.plain_table(f"{audit.subject.name}: {audit.verdict.requirement}{f' ({doubt})' if doubt else ''}")
    table.show_header = False
    for gate in audit.gates:
        found = Text.assemble(gate.rule, "\n", (gate.message, "dim"))
        if gate.p_holm is not None:
            found.append(f"; p {words.p_value(gate.p_value)}, with Holm's {words.p_value(gate.p_holm)}", "dim")
        table.add_row(Text(gate.status, style=colours[gate.status]), found)
    return table


def complain(audits: Sequence[Audit]) -> None:
    """Says on standard error, in a line for each model, why the exit code is not 0."""
    from robustkit.checks.diagnostic import reasons

    for audit in audits:
        if audit.verdict.quality in ("unreliable", "invalid"):
            why = ", ".join(f"{item.id} {item.status} ({item.title})" for item in reasons(audit.diagnostics))
            click.echo(f"robustkit: the evaluation is {audit.verdict.quality}: {why}", err=True)
        elif audit.verdict.requirement in ("not met", "undecided"):
            open_ones = ", ".join(gate.rule for gate in audit.gates if gate.status == audit.verdict.requirement)
            click.echo(f"robustkit: {audit.verdict.requirement}: {open_ones}", err=True)
