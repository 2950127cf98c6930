"""From the results of an audit to its files and the screen."""

from __future__ import annotations

import shlex

from robustkit.base.exit_codes import ExitCode
from robustkit.base.processes import ranks
from robustkit.cli.audit.plan import Plan
from robustkit.cli.audit.run import Results
from robustkit.cli.shared import terminal
from robustkit.cli.shared.audit_view import complain, print_audit, print_gates
from robustkit.cli.shared.command_line import typed, without
from robustkit.cli.shared.earlier_run import as_named
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.report_files import write_report
from robustkit.cli.shared.shards import write_shard
from robustkit.evaluation.checkpoint import discard
from robustkit.report import Audit
from robustkit.report.build import build_audit
from robustkit.report.requirements.gates import exit_code, judged

_PRIVATE = ("--sign", "--launch")  # where a key lies, and on what machines the work was done


def show(plan: Plan, results: Results) -> ExitCode:
    """Writes report or shard, prints the audit and returns the exit code."""
    if plan.shard:
        return write_shard(plan.folder, results.evaluation, plan.shard)
    if not ranks().first:
        return ExitCode.OK
    audit = _audit(plan, results)
    _write(plan, results, audit)
    console = terminal.out()
    print_audit(console, audit)
    if audit.gates:
        print_gates(console, audit)
    if results.surrogate:
        say(f"  {results.surrogate}")
    say(f"  report {plan.folder / 'report.html'}")
    complain([audit])
    return exit_code([audit])


def _audit(plan: Plan, results: Results) -> Audit:
    loaded = results.loaded
    audit = build_audit(
        results.evaluation,
        loaded.classifier,
        name=plan.name or loaded.spec,
        source=loaded.spec,
        weights=loaded.weights,
        curve=results.curve or results.evaluation.curve,
        distances=results.distances,
        members=results.members,
        groups=plan.groups,
        hash_whole=not plan.no_data_hash,
    )
    return judged(audit, plan.requirements) if plan.requirements else audit


def _write(plan: Plan, results: Results, audit: Audit) -> None:
    write_report(
        plan.folder,
        [audit],
        [results.evaluation],
        title=audit.subject.name,
        command=shlex.join(["robustkit", *without(typed(), _PRIVATE)]),
        seed=plan.seed,
        loads=[as_named(plan.model, results.loaded.dataset)],
        archive=plan.archive,
        about=plan.about,
        sign=plan.key,
    )
    discard(plan.parts_folder)
