"""The audit report: plain data, its JSON, and the pages drawn from it."""

from robustkit.diagnostics import Diagnostic
from robustkit.report.about import About, SignOff, read_about
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
    Ensemble,
    GateResult,
    Method,
    Nearest,
    Report,
    SliceRow,
    Subject,
    ThreatModel,
    Verdict,
    WorstCase,
)
from robustkit.report.exhibit import Exhibit, Picture
from robustkit.report.html import render_html
from robustkit.report.io import from_json, load, result_sha256, save, schema, to_json
from robustkit.report.markdown import render_markdown
from robustkit.report.pictures import difference, picture
from robustkit.report.tallies import ConfusedPair, Confusion, Margins, RiskCoverage

__all__ = [
    "SCHEMA",
    "About",
    "AccuracyCurve",
    "Artefact",
    "AttackResult",
    "Audit",
    "CalibrationPair",
    "ClassRow",
    "ConfusedPair",
    "Confusion",
    "CurvePoint",
    "Data",
    "Diagnostic",
    "Ensemble",
    "Exhibit",
    "GateResult",
    "Margins",
    "Method",
    "Nearest",
    "Picture",
    "Report",
    "RiskCoverage",
    "SignOff",
    "SliceRow",
    "Subject",
    "ThreatModel",
    "Verdict",
    "WorstCase",
    "difference",
    "from_json",
    "load",
    "picture",
    "read_about",
    "render_html",
    "render_markdown",
    "result_sha256",
    "save",
    "schema",
    "to_json",
]
