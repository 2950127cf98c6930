"""The audit report: plain data, its JSON, and the pages drawn from it."""

from robustkit.diagnostics import Diagnostic
from robustkit.report.document import (
    SCHEMA,
    AccuracyCurve,
    Artefact,
    AttackResult,
    Audit,
    CalibrationPair,
    ClassRow,
    CurvePoint,
    Data,
    Exhibit,
    GateResult,
    Method,
    Nearest,
    Picture,
    Report,
    SliceRow,
    Subject,
    ThreatModel,
    Verdict,
    WorstCase,
)
from robustkit.report.html import render_html
from robustkit.report.io import from_json, load, result_sha256, save, schema, to_json
from robustkit.report.markdown import render_markdown
from robustkit.report.pictures import difference, picture

__all__ = [
    "SCHEMA",
    "AccuracyCurve",
    "Artefact",
    "AttackResult",
    "Audit",
    "CalibrationPair",
    "ClassRow",
    "CurvePoint",
    "Data",
    "Diagnostic",
    "Exhibit",
    "GateResult",
    "Method",
    "Nearest",
    "Picture",
    "Report",
    "SliceRow",
    "Subject",
    "ThreatModel",
    "Verdict",
    "WorstCase",
    "difference",
    "from_json",
    "load",
    "picture",
    "render_html",
    "render_markdown",
    "result_sha256",
    "save",
    "schema",
    "to_json",
]
