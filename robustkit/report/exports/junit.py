"""Gates and diagnostics as JUnit XML, for the dashboards of build servers."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from robustkit.report.document.report import Audit, Report
from robustkit.report.text import sentences, words

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


def render_junit(report: Report) -> str:
    """Returns one suite per audit with one case for each gate and each diagnostic; its properties say what it rests on.

    Not met and failed are failures, undecided and not run are skipped, and where the evaluation cannot be trusted
    every gate is an error.
    """
    root = ElementTree.Element("testsuites", name=_legal(report.title))
    for audit in report.audits:
        _suite(root, audit, report)
    totals = {key: sum(int(suite.get(key, 0)) for suite in root) for key in ("tests", "failures", "errors", "skipped")}
    root.attrib |= {key: str(value) for key, value in totals.items()}
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, audit: Audit, report: Report) -> None:
    seconds = sum(attack.seconds for attack in audit.attacks)
    suite = ElementTree.SubElement(
        root, "testsuite", name=_legal(audit.subject.name), timestamp=report.created, time=f"{seconds:.3f}"
    )
    properties = ElementTree.SubElement(suite, "properties")
    threat = f"{audit.threat.norm} {audit.threat.eps}"
    for name, value in (("threat model", threat), ("basis", sentences.basis(audit))):
        ElementTree.SubElement(properties, "property", name=name, value=_legal(value))
    doubt = sentences.doubtful(audit)
    for gate in audit.gates:
        outcome = {"not met": "failure", "undecided": "skipped"}.get(gate.status)
        if doubt:
            _case(suite, "gate", gate.rule, "error", f"the evaluation is {doubt}; {gate.message}")
        else:
            _case(suite, "gate", gate.rule, outcome, gate.message)
    for check in audit.diagnostics:
        outcome = {"fail": "failure", "not run": "skipped", "remark": "system-out"}.get(check.status)
        limit = f"; limit: {check.limit}" if check.limit else ""
        said = f"{words.scalar(check.value)}{limit}; {check.message}"
        _case(suite, "diagnostic", f"{check.id} {check.title}", outcome, said)
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))


def _case(suite: ElementTree.Element, kind: str, name: str, outcome: str | None, message: str) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=f"robustkit.{kind}.{suite.get('name')}", name=_legal(name)
    )
    if outcome == "system-out":
        ElementTree.SubElement(case, outcome).text = _legal(message)
    elif outcome:
        ElementTree.SubElement(case, outcome, message=_legal(message))


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", words.visible(text))
