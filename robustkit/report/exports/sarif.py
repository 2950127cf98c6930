"""Gates and diagnostics that need attention as SARIF 2.1.0, for code-scanning alerts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from robustkit.base.version import __version__
from robustkit.report.document.report import Audit, Report
from robustkit.report.text import sentences, words

_GATE = ("requirement", "A requirement on the robustness of the model", "The figure and its interval are held against "
         "the limit: not met where the whole interval misses it, undecided where it holds it.")  # fmt: skip


def render_sarif(report: Report, path: Path) -> str:
    """Returns one result for every gate that is not met or undecided and every diagnostic that failed or remarks.

    An alert is the same alert from run to run: its rule and fingerprint depend on model, data, threat and requirement,
    never on what was measured. There is no source line at fault, so it points at the report.

    Args:
        report: Its audits hold the gates' results.
        path: Where the report lies, best inside the repository.
    """
    rules: dict[str, dict[str, Any]] = {}
    results = [result for audit in report.audits for result in _results(audit, path, rules)]
    driver = {
        "name": "robustkit",
        "version": __version__,
        "rules": list(rules.values()),
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": results}],
    }
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _results(audit: Audit, path: Path, rules: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    levels = {"not met": "error", "undecided": "warning"}
    for gate in audit.gates:
        if gate.status != "met":
            rule = _rule(rules, *_GATE)
            text = f"{audit.subject.name}: {gate.rule} is {gate.status}: {gate.message}. {sentences.basis(audit)}"
            found.append(_result(rule, rules, levels[gate.status], text, path, audit, gate.rule))
    levels = {"fail": "error", "remark": "note"}
    for check in audit.diagnostics:
        if check.status in levels:
            rule = _rule(rules, check.id, check.title, "A check of the evaluation itself, not of the model.")
            text = f"{audit.subject.name}: {check.id} {check.status}: {check.message}"
            found.append(_result(rule, rules, levels[check.status], text, path, audit, check.id))
    return found


def _rule(rules: dict[str, dict[str, Any]], id: str, title: str, about: str) -> str:
    name = f"robustkit/{id}"
    rules.setdefault(
        name,
        {
            "id": name,
            "shortDescription": {"text": words.visible(title)},
            "fullDescription": {"text": about},
            "help": {"text": about},
        },
    )
    return name


def _result(
    rule: str, rules: dict[str, dict[str, Any]], level: str, text: str, path: Path, audit: Audit, about: str
) -> dict[str, Any]:
    same = (rule, about, audit.subject.name, audit.data.name, audit.threat.norm, audit.threat.eps)
    here = path.resolve()
    if here.is_relative_to(Path.cwd()):
        here = here.relative_to(Path.cwd())
    place = {"artifactLocation": {"uri": quote(here.as_posix())}, "region": {"startLine": 1}}
    return {
        "ruleId": rule,
        "ruleIndex": list(rules).index(rule),
        "level": level,
        "message": {"text": words.visible(text)},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"robustkit/v1": hashlib.sha256(json.dumps(same).encode()).hexdigest()},
    }
