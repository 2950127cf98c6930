"""The report as Markdown, short enough for a pull request."""

from __future__ import annotations

from robustkit.base.settings import instance
from robustkit.checks.diagnostic import check_name
from robustkit.maths.intervals import Proportion
from robustkit.report.document.report import Audit, Ensemble, Report
from robustkit.report.document.table import Changes
from robustkit.report.text import recommendations, sentences, side_by_side, table_sentences, words
from robustkit.report.text.attack_rows import shown_rows
from robustkit.report.text.risks import risks

_MOVES, _FLIPS = 5, 3
_ATTACKS, _CHECKS, _MEMBERS, _SLICES, _GATES, _STEPS = 12, 6, 8, 8, 6, 3  # shown: one audit stays below 60 lines
_text = words.markdown


def render_markdown(report: Report) -> str:
    """Returns the report as Markdown of at most 60 lines per audit, drawn from the report alone."""
    instance("report", "the report", report, Report)
    lines = [f"# Robustness audit: {_text(report.title, 120)}", ""]
    if len(report.audits) > 1:
        lines += [f"{side_by_side.comparable(report)}", ""]
    for audit in report.audits:
        lines += _audit(report, audit)
    lines += ["## Reproduction", ""]
    lines += [f"    {' '.join(words.visible(report.command).split())}", ""] if report.command else []
    lines += [
        f"Seed {report.seed}, {_text(report.tool)}, {_text(report.created)}, report {_text(report.id)}. "
        f"Result SHA-256 `{report.result_sha256}`."
    ]
    return "\n".join(lines) + "\n"


def _audit(report: Report, audit: Audit) -> list[str]:
    verdict, doubt = audit.verdict, sentences.doubtful(audit)
    robust = words.percent(audit.worst_case.accuracy.value)
    sentence = _text(sentences.plain_sentence(audit), 10_000)
    rule = " `{}`".format(words.shorten(verdict.rule, 80).replace("`", "'")) if verdict.rule else ""
    rows = shown_rows(audit)
    gates = sorted(audit.gates, key=lambda gate: gate.status == "met")[:_GATES]
    shown = [(_text(row.accuracy_name, 60), row.result.accuracy, row.success) for row in rows[:_ATTACKS]]
    lines = [
        f"## {_text(audit.subject.name, 80)}",
        "",
        f"- **Requirement{rule}:** {verdict.requirement}",
        *[f"  - {gate.status}: {_text(gate.rule, 80)}: {_text(gate.message, 200)}" for gate in gates],
        f"- **Quality of the evaluation:** {sentences.reliable(audit)} ({sentences.checks(audit)}). "
        + _text(sentences.basis(audit), 200),
        f"- **Attacks:** {_text(sentences.attacks(audit), 600)}",
        f"- **Not tested:** {'; '.join(map(_text, verdict.coverage)) or 'no gaps stated'}",
        f"- **Next:** {' '.join(map(_step, recommendations.steps(report, audit)[:_STEPS]))}",
        "",
        sentence.replace(_text(robust), f"~~{_text(robust)}~~", 1) if doubt else sentence,
        "",
        *[f"{place}. **{risk.name}.** {_text(risk.text, 300)}" for place, risk in enumerate(risks(audit), 1)],
        "",
        _text(sentences.method(audit), 10_000),
        "",
        "| | Accuracy | Interval | Samples | Attack success, of those attacked |",
        "|---|--:|--:|--:|--:|",
        _row("Clean accuracy", audit.clean),
        *[_row(*cells) for cells in shown],
    ]
    if len(rows) > _ATTACKS:
        lines.append(f"| {len(rows) - _ATTACKS} more attacks | | | | |")
    worst = _row("**Robust accuracy** (worst case)", audit.worst_case.accuracy, audit.worst_case.attack_success)
    lines += [worst.replace(robust, f"~~{robust}~~ {doubt}", 1) if doubt else worst, ""]
    if audit.curve:
        path = ", ".join(f"{_text(point.eps)}: {words.percent(point.accuracy.value)}" for point in audit.curve.points)
        n = audit.curve.points[0].accuracy.n
        lines += [f"Robust accuracy by eps ({audit.curve.norm}, {n:,} samples): {path}.", ""]
    if audit.table:
        lines += [_text(table_sentences.legal(audit), 10_000), *_changes(audit.table.changes), ""]
    if group := audit.ensemble:
        lines += [*_members(group), ""]
    clean, attacked = audit.calibration.clean, audit.calibration.attacked
    lines += [
        f"Calibration: ECE {words.decimal(clean.ece.value)} clean, {words.decimal(attacked.ece.value)} under "
        f"attack (a perfectly calibrated model: {words.decimal(clean.ece_if_calibrated.mean)} and "
        f"{words.decimal(attacked.ece_if_calibrated.mean)}). Wrong with more than 90 % confidence: "
        f"{words.percent(clean.confident_errors.value)} clean, "
        f"{words.percent(attacked.confident_errors.value)} under attack.",
        "",
    ]
    if ranked := sentences.ranked(audit)[:3]:
        lowest = ", ".join(
            f"{_text(row.name)}: {words.percent(row.robust.value)} of {row.robust.n:,}" for row in ranked
        )
        lines += [f"Lowest robust accuracy by class: {lowest}.", ""]
    lines += _slices(audit)
    open_checks = [one for one in audit.diagnostics if one.status in ("fail", "remark")]
    open_checks.sort(key=lambda one: one.status != "fail")
    for one in open_checks[:_CHECKS]:
        lines.append(
            f"- {one.status}: {_text(check_name(one.id))} ({_text(one.title, 80)}): {_text(words.scalar(one.value))}, "
            f"limit {_text(one.limit)}. {_text(one.message, 200)}"
        )
    if len(open_checks) > _CHECKS:
        lines.append(f"- {len(open_checks) - _CHECKS} more remarks in the full report")
    return [*lines, ""] if open_checks else lines


def _changes(changes: Changes | None) -> list[str]:
    """Returns the features changed most, and the cheapest changes that flip a decision."""
    if changes is None:
        return []
    most = ", ".join(f"{_text(move.feature, 60)} ({move.changed:,})" for move in changes.moves[:_MOVES])
    flips = [f"- {_text(table_sentences.flipped(flip), 400)}" for flip in changes.cheapest[:_FLIPS]]
    return ["", _text(table_sentences.undone(changes), 10_000), f"Changed most often: {most}. Cheapest:", "", *flips]


def _step(step: recommendations.Step) -> str:
    command = "" if step.command is None else f" `{words.shorten(step.command, 200).replace('`', chr(39))}`"
    return f"{_text(step.text, 200)}{command}"


def _members(group: Ensemble) -> list[str]:
    """Returns a table of the members: their accuracy, and cross-member transfer."""
    several = range(len(group.members[:_MEMBERS]))
    numbers = "".join(f" breaks {j + 1} |" for j in several)
    lines = [
        f"Members, combined by {_text(group.combine)}. Two members disagree on {words.percent(group.disagreement)} "
        "of the samples. Right: share of one member's adversarial examples that break the others.",
        "",
        f"| | Accuracy | Under attack |{numbers}",
        f"|---|--:|--:|{'--:|' * len(several)}",
    ]
    for i in several:
        shares = "".join(f" {words.percent(group.transfer[i][j]) if i != j else words.EMPTY} |" for j in several)
        own = f"{words.percent(group.clean[i].value)} | {words.percent(group.robust[i].value)} |"
        lines.append(f"| {_text(group.members[i], 40)} | {own}{shares}")
    more = len(group.members) - _MEMBERS
    return [*lines, *([f"| {more} more members | | |{' |' * len(several)}"] if more > 0 else [])]


def _slices(audit: Audit) -> list[str]:
    """Clean and robust accuracy by slice, lowest robust accuracy first."""
    rows = sorted((row for row in audit.slices if row.robust.n), key=lambda row: row.robust.value or 0.0)
    if not rows:
        return []
    lines = [
        "| Slice | Clean accuracy | Robust accuracy | Interval | Samples | p | p (Holm) |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows[:_SLICES]:
        cells = [
            _text(f"{row.column} = {row.value}", 40),
            words.percent(row.clean.value),
            words.percent(row.robust.value),
        ]
        cells += [words.interval(row.robust), f"{row.robust.n:,}"]
        cells += [_text(words.p_value(p)) for p in (row.p_value, row.p_holm)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| {len(rows) - _SLICES} more slices | | | | | | |"] if len(rows) > _SLICES else []
    return [*lines, "", _about_slices(audit), ""]


def _about_slices(audit: Audit) -> str:
    said = "p: robust accuracy against all other samples; p (Holm) is corrected for all slices."
    return (
        said if audit.worst_case.clustered is None else f"{said} Both account for common origins, the intervals do not."
    )


def _row(label: str, accuracy: Proportion, success: Proportion | None = None) -> str:
    rate = f"{words.percent(success.value)} of {success.n:,}" if success else words.EMPTY
    cells = (label, words.percent(accuracy.value), words.interval(accuracy), words.counts(accuracy), rate)
    return f"| {' | '.join(cells)} |"
