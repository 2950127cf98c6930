"""An earlier audit as the mark that a new evaluation of the same samples must not fall significantly below."""

from __future__ import annotations

import json
from pathlib import Path

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.foreign_file import content, parsing
from robustkit.evaluation.ledger import Ledger
from robustkit.maths.paired_test import Paired
from robustkit.report.compare.comparison import attack_settings, paired_outcomes, rows_as_in
from robustkit.report.document.open_audit import OpenedAudit, open_audit
from robustkit.report.document.report import Audit
from robustkit.report.requirements.gates import Requirement
from robustkit.report.text import words
from robustkit.report.text.sentences import doubtful, protocol

Baseline = OpenedAudit | tuple[Requirement, ...]
ALPHA = 0.05


def read_baseline(source: str | Path) -> Baseline:
    """Returns the audit of a report of one model, or the requirements that a JSON list of texts holds.

    Args:
        source: Folder of an audit or the report.json in it, or a JSON file such as ["robust_accuracy>=0.45"].

    Raises:
        ConfigurationError: If it is neither.
        InvalidEvaluation: If it is an audit that is not to be relied on.
    """
    path = Path(source)
    if not path.is_dir():
        with parsing("baseline", f"a report.json or a JSON list of requirements in '{path}'"):
            tree = json.loads(content(path))
        if isinstance(tree, list) and tree and all(isinstance(text, str) for text in tree):
            return tuple(Requirement.parse(text) for text in tree)
    before = open_audit(path, None, "baseline")
    if doubt := doubtful(before.audit):
        raise InvalidEvaluation(f"baseline: expected an evaluation to rely on, got one that is {doubt}; audit again")
    return before


def check_comparable(before: Audit, after: Audit) -> None:
    """Raises ConfigurationError unless two audits are of the same samples, under the same attacks."""
    one, two = before.data, after.data
    if one.sha256 != two.sha256:
        raise ConfigurationError(
            f"baseline: expected an audit of the same samples, got one of {one.n:,} of {one.name} where the test has"
            f" {two.n:,}, or other inputs; audit with the data, limit and seed of the test"
        )
    if before.method.cascade != after.method.cascade or attack_settings(before) != attack_settings(after):
        told = [f"{protocol(one)} at {one.threat.norm} {one.threat.eps}" for one in (before, after)]
        raise ConfigurationError(
            f"baseline: expected an audit by the attacks of the test with their settings, got {told[0]} where the test"
            f" has {told[1]}; audit with those of the test"
        )


def fallen(before: Ledger, after: Ledger) -> str | None:
    """Returns by how much robust accuracy fell, where that is significant by McNemar's test at 5 %; None otherwise."""
    then, now = before.robust, after.robust[rows_as_in(before, after)]
    found: Paired = paired_outcomes(then, now)
    if found.b <= found.c or found.p_value >= ALPHA:
        return None
    low, high = (f"{100 * end:+.1f}" for end in found.interval)
    points = 100 * (found.difference or 0.0)
    return (
        f"robust accuracy is significantly below the baseline's: {int(now.sum())} of {found.n} right under"
        f" every attack after {int(then.sum())} ({found.b} lost, {found.c} gained),"
        f" {points:+.1f} points (95 % interval {low} to {high}), p = {words.p_value(found.p_value)}"
    )
