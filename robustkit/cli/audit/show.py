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
from robustkit.report.document.across import AcrossThreats
from robustkit.report.requirements.gates import exit_code, judged
from robustkit.report.text.words import percent
from robustkit.union import ThreatUnion, threat_name

_PRIVATE = ("--sign", "--launch")  # where a key lies, and on what machines the work was done


def show(plan: Plan, results: Results) -> ExitCode:
    """Writes report or shard, prints the audit and returns the exit code."""
    if plan.shard:
        return write_shard(plan.folder, results.evaluation, plan.shard)
    if not ranks().first:
        return ExitCode.OK
    audits = _audits(plan, results)
    across = _write(plan, results, audits)
    console = terminal.out()
    for audit in audits:
        print_audit(console, audit)
        if audit.gates:
            print_gates(console, audit)
    if across:
        share = across.accuracy
        say(f"  worst case over {', '.join(across.threats)}: {percent(share.value)} ({share.k} of {share.n} samples)")
    if results.surrogate:
        say(f"  {results.surrogate}")
    say(f"  report {plan.folder / 'report.html'}")
    complain(audits)
    return exit_code(audits)


def _audits(plan: Plan, results: Results) -> list[Audit]:
    """Returns the audit of every threat model; curve, distances and members are those of the first."""
    loaded, name = results.loaded, plan.name or results.loaded.spec
    audits = []
    for evaluation in (results.evaluation, *results.others):
        first = evaluation is results.evaluation
        audit = build_audit(
            evaluation,
            loaded.classifier,
            name=f"{name} ({threat_name(evaluation.threat)})" if results.others else name,
            source=loaded.spec,
            weights=loaded.weights,
            curve=(results.curve if first else None) or evaluation.curve,
            distances=results.distances if first else None,
            members=results.members if first else None,
            groups=plan.groups,
            hash_whole=not plan.no_data_hash,
        )
        audits.append(judged(audit, plan.requirements) if plan.requirements else audit)
    return audits


def _write(plan: Plan, results: Results, audits: list[Audit]) -> AcrossThreats | None:
    """Writes the report and returns the worst case over several threat models, where there are."""
    evaluations = [results.evaluation, *results.others]
    across = ThreatUnion(tuple(evaluations)).worst_case if results.others else None
    write_report(
        plan.folder,
        audits,
        evaluations,
        title=plan.name or results.loaded.spec,
        command=shlex.join(["robustkit", *without(typed(), _PRIVATE)]),
        seed=plan.seed,
        loads=[as_named(plan.model, results.loaded.dataset)] * len(audits),
        across=across,
        archive=plan.archive,
        about=plan.about,
        sign=plan.key,
    )
    discard(plan.parts_folder)
    return across
