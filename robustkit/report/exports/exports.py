"""The report in the forms other places expect: a leaderboard's model_info, a model card, tables for a spreadsheet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from robustkit.base.csv_table import Cell, write_csv
from robustkit.maths.intervals import Proportion
from robustkit.report.document.report import Audit, Report
from robustkit.report.text import sentences, words
from robustkit.report.text.attack_rows import attack_rows

Row = Sequence[Cell]


def robustbench(audit: Audit) -> str:
    """Returns the JSON of RobustBench's model_info: their field names, accuracies as text in percent, unknown as null.

    Only the published AutoAttack, unadapted and over all samples of the data, is entered as `autoattack_acc`; what
    anything else found stands in the footnote. Link, authors and venue are for people to fill in.
    """
    robust, method = audit.worst_case.accuracy, audit.method
    whole = audit.data.selection == "all samples"
    published = method.protocol == "autoattack" and not method.changes and not method.early and whole
    which = f"{audit.data.selection} of {audit.data.name}{f' ({audit.data.split})' if audit.data.split else ''}"
    footnote = f"{robust.n:,} samples: {which}; {audit.threat.norm} {audit.threat.eps}."
    if not published:
        footnote += f" Robust accuracy {_percent(robust)} against {sentences.protocol(audit)} ({method.fingerprint})."
    info = {
        "link": None,
        "name": audit.subject.name,
        "authors": None,
        "additional_data": None,
        "number_forward_passes": method.draws,
        "dataset": audit.data.name,
        "venue": None,
        "architecture": audit.subject.architecture,
        "eps": audit.threat.eps,
        "clean_acc": _percent(audit.clean),
        "reported": None,
        "autoattack_acc": _percent(robust) if published else None,
        "footnote": footnote,
        "unreliable": sentences.doubtful(audit) is not None,
    }
    return json.dumps(info, indent=2, ensure_ascii=False) + "\n"


def model_card(report: Report) -> str:
    """Returns the top of a Hugging Face model card: a model-index with clean and robust metrics, and a table.

    The clean figure always stands beside the attacked one. Where an evaluation is not to be relied on, its figures
    under attack are no metrics and the text says why.
    """
    lines = ["---", "model-index:"]
    for audit in report.audits:
        lines += _index(audit)
    lines += ["---", "", "## Robustness", ""]
    for audit in report.audits:
        lines += _table(audit)
    return "\n".join(lines) + "\n"


def tables(report: Report) -> dict[str, str]:
    """Returns the data behind every figure as CSV by file name, one line per point; empty tables are left out."""
    share = ["value", "k", "n", "wilson_low", "wilson_high", "exact_low", "exact_high"]
    models = [(audit.subject.name, audit) for audit in report.audits]
    heads: dict[str, tuple[list[str], Iterable[Row]]] = {
        "accuracy.csv": (["model", "under", *share], [
            [name, under, *_cells(accuracy)] for name, audit in models for under, accuracy in _accuracies(audit)]),
        "classes.csv": (["model", "class", "figure", *share], [
            [name, row.name, figure, *_cells(accuracy)] for name, audit in models for row in audit.per_class
            for figure, accuracy in (("clean_accuracy", row.clean), ("robust_accuracy", row.robust))]),
        "slices.csv": (["model", "column", "slice", "figure", *share, "p", "p_holm"], [
            [name, row.column, row.value, figure, *_cells(accuracy), *p_values]
            for name, audit in models for row in audit.slices
            for figure, accuracy, p_values in (
                ("clean_accuracy", row.clean, (None, None)),
                ("robust_accuracy", row.robust, (row.p_value, row.p_holm)))]),
        "curve.csv": (["model", "eps", "eps_value", *share], [
            [name, point.eps, point.eps_value, *_cells(point.accuracy)] for name, audit in models if audit.curve
            for point in audit.curve.points]),
        "nearest.csv": (["model", "share_broken", "distance"], [
            [name, tenth / 10, distance] for name, audit in models if audit.nearest
            for tenth, distance in enumerate(audit.nearest.deciles, 1)]),
        "reliability.csv": (["model", "side", "low", "high", "confidence", *share], [
            [name, side, one.low, one.high, one.confidence, *_cells(one.accuracy)]
            for name, audit in models for side, found in _sides(audit) for one in found.reliability]),
        "calibration.csv": (["model", "side", "figure", "value", "low", "high"], [
            [name, side, figure, estimate.value, estimate.low, estimate.high] for name, audit in models
            for side, found in _sides(audit)
            for figure in ("ece", "adaptive_ece", "classwise_ece", "mce", "brier", "nll", "signed_gap", "aurc")
            if (estimate := getattr(found, figure)) is not None]),
        "convergence.csv": (["model", "attack", "step", "loss"], [
            [name, row.name, step, loss] for name, audit in models for row in attack_rows(audit)
            for step, loss in enumerate(row.result.loss_path)]),
        "gates.csv": (["model", "rule", "status", "value", "bound", "needed", "p", "p_holm", "message"], [
            [name, gate.rule, gate.status, gate.value, gate.bound, gate.needed, gate.p_value, gate.p_holm, gate.message]
            for name, audit in models for gate in audit.gates]),
        "diagnostics.csv": (["model", "id", "title", "status", "value", "limit", "message"], [
            [name, check.id, check.title, check.status, check.value, check.limit, check.message]
            for name, audit in models for check in audit.diagnostics]),
    }  # fmt: skip
    return {name: write_csv(head, rows) for name, (head, rows) in heads.items() if rows}


def _index(audit: Audit) -> list[str]:
    """One entry of a model-index. Strings are written as JSON, which YAML reads as they are meant."""
    task = "image-classification" if sentences.is_image(audit.data.input_shape) else "tabular-classification"
    metrics: list[tuple[str, str, Any]] = [("accuracy", "Clean accuracy", audit.clean.value)]
    metrics += [("ece", "Expected calibration error, clean", audit.calibration.clean.ece.value)]
    if sentences.doubtful(audit) is None:
        threat = f"{audit.threat.norm} {audit.threat.eps}, {sentences.protocol(audit)}"
        metrics.insert(1, ("robust_accuracy", f"Robust accuracy ({threat})", audit.worst_case.accuracy.value))
        metrics.append(("ece", f"Expected calibration error ({threat})", audit.calibration.attacked.ece.value))
    lines = [
        f"- name: {_text(audit.subject.name)}",
        "  results:",
        "  - task:",
        f"      type: {task}",
        "    dataset:",
        f"      type: {_text(audit.data.name)}",
        f"      name: {_text(audit.data.name)}",
    ]
    lines += [f"      split: {_text(audit.data.split)}"] if audit.data.split else []
    lines.append("    metrics:")
    for kind, name, value in metrics:
        lines += [f"    - type: {kind}", f"      name: {_text(name)}", f"      value: {json.dumps(value)}"]
    return lines


def _table(audit: Audit) -> list[str]:
    doubt, robust = sentences.doubtful(audit), audit.worst_case.accuracy
    shown = f"not to be relied on ({doubt})" if doubt else f"{words.percent(robust.value)} ({words.interval(robust)})"
    name = words.markdown(audit.subject.name, 80)
    return [
        f"| {name} | |",
        "|---|---|",
        f"| Clean accuracy | {words.percent(audit.clean.value)} ({words.interval(audit.clean)}) |",
        f"| Robust accuracy, an upper bound | {shown} |",
        f"| Threat | {audit.threat.norm} {words.markdown(audit.threat.eps)}, {words.markdown(audit.threat.goal)} |",
        f"| Protocol | {words.markdown(audit.method.protocol)} ({audit.method.fingerprint}) |",
        f"| Attacks | {words.markdown(sentences.attacks_with_strength(audit), 600)} |",
        f"| Data | {robust.n:,} samples of {words.markdown(audit.data.name)} |",
        f"| Quality of the evaluation | {sentences.reliable(audit)} |",
        f"| Basis | {words.markdown(sentences.basis(audit), 200)} |",
        "",
        words.markdown(sentences.plain_sentence(audit), 10_000),
        "",
    ]


def _accuracies(audit: Audit) -> list[tuple[str, Proportion]]:
    attacks = [(row.accuracy_name, row.result.accuracy) for row in attack_rows(audit)]
    return [("no attack", audit.clean), *attacks, ("worst case", audit.worst_case.accuracy)]


def _sides(audit: Audit) -> tuple[tuple[str, Any], ...]:
    return ("clean", audit.calibration.clean), ("attacked", audit.calibration.attacked)


def _cells(share: Proportion | None) -> Row:
    if share is None:
        return [None, 0, 0, None, None, None, None]
    return [share.value, share.k, share.n, *share.wilson, *share.clopper_pearson]


def _percent(share: Proportion) -> str | None:
    return None if share.value is None else f"{100 * share.value:.2f}"


def _text(text: str) -> str:
    return json.dumps(words.visible(text), ensure_ascii=False)
