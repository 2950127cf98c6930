"""`robustkit gate`: holds a report against requirements and answers with an exit code."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustkit.base.errors import ConfigurationError
from robustkit.base.exit_codes import ExitCode, listed
from robustkit.cli.shared.answer import answer, answer_file
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.options import REQUIRE
from robustkit.cli.shared.report_files import as_stated

if TYPE_CHECKING:
    from robustkit.report import Audit, Report


@click.command(
    "gate", cls=Command, short_help="Hold a report against requirements; the exit code is the answer.", epilog=listed()
)
@click.argument("source", metavar="REPORT", type=click.Path(path_type=Path))
@REQUIRE
@click.option("--audit", "name", metavar="NAME", help="Judge only this model of the report.")
@click.option("--base", type=click.Path(path_type=Path), help="Another report: show what changed since, in Markdown.")
@click.option("--markdown", metavar="FILE", help="At most 60 lines for a pull request; - for standard output.")
@click.option("--junit", type=click.Path(path_type=Path), help="JUnit XML to write.")
@click.option("--sarif", type=click.Path(path_type=Path), help="SARIF 2.1.0 to write.")
def command(
    source: Path, requirements: tuple[Any, ...], name: str | None, base: Path | None, **outputs: Any
) -> ExitCode:
    """Hold REPORT, a report.json or its folder, against requirements; those of the audit itself if none are given.

    A rule is NAME>=LIMIT or NAME<=LIMIT. Names: clean_accuracy, robust_accuracy, attack_success_rate, accuracy[ATTACK]
    for an attack alone, robust_accuracy_after[ATTACK] in a cascade, robust_accuracy[CLASS],
    robust_accuracy[COLUMN=VALUE] for slices, robust_accuracy[eps=4/255] on the curve, ece, brier, nll, aurc,
    confident_errors, ... and the same with _attacked. What was not measured is refused (exit code 2).

    "At least" is met where the one-sided 95 % lower confidence bound reaches the limit, not met where even the upper
    bound is below it, and undecided in between.

    \b
    Example:
      robustkit gate robustkit-report \\
          --require "robust_accuracy>=0.45" --require "ece<=5%" \\
          --junit gate.xml --markdown - >> "$GITHUB_STEP_SUMMARY"
    """
    from robustkit.cli.shared import terminal
    from robustkit.cli.shared.audit_view import complain, print_gates
    from robustkit.report import load
    from robustkit.report.requirements.gates import exit_code, judged

    path = report_path(source)
    report, earlier = load(path), None if base is None else load(report_path(base))
    audits = chosen(report, name)
    if requirements:
        with as_stated(path):
            audits = tuple(judged(audit, requirements) for audit in audits)
    elif not any(audit.gates for audit in audits):
        raise ConfigurationError('gate: expected --require, got none; for example --require "robust_accuracy>=0.45"')
    write_outputs(dataclasses.replace(report, audits=audits), path, earlier, **outputs)
    answer(audits=[{"name": one.subject.name, "verdict": one.verdict, "gates": one.gates} for one in audits])
    if outputs["markdown"] != "-":
        for audit in audits:
            print_gates(terminal.out(), audit)
    complain(audits)
    return exit_code(audits)


def write_outputs(
    report: Report, path: Path, earlier: Report | None, markdown: str | None, junit: Path | None, sarif: Path | None
) -> None:
    """Writes the files that were asked for, and Markdown to standard output for "-"."""
    from robustkit.base.write_file import write_atomically
    from robustkit.report.exports.gate_markdown import render_gates
    from robustkit.report.exports.junit import render_junit
    from robustkit.report.exports.sarif import render_sarif

    if junit:
        answer_file(write_atomically(junit, render_junit(report)))
    if sarif:
        answer_file(write_atomically(sarif, render_sarif(report, path)))
    if markdown == "-":
        say(render_gates(report, earlier), nl=False)
    elif markdown:
        answer_file(write_atomically(markdown, render_gates(report, earlier)))


def report_path(source: Path) -> Path:
    """Returns the report.json that a path to it or to its folder means."""
    return source / "report.json" if source.is_dir() else source


def chosen(report: Report, name: str | None) -> tuple[Audit, ...]:
    """Returns the audits of a report, or only the one called `name`.

    Raises:
        ConfigurationError: If no audit, or more than one, has that name.
    """
    from robustkit.report.document.open_audit import place_of

    if name is None:
        return report.audits
    return (report.audits[place_of(report, name, "the report", "--audit")],)
