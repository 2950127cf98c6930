"""The audit report: plain data, its JSON, and the pages drawn from it."""

from robustkit.checks.diagnostic import Diagnostic
from robustkit.report.build import build_audit, build_report
from robustkit.report.custom_sections import Section
from robustkit.report.document.about import About, SignOff, read_about
from robustkit.report.document.gallery import GalleryItem, Picture
from robustkit.report.document.io import from_json, load, result_sha256, save, schema, to_json
from robustkit.report.document.ledger_summaries import ConfusedPair, Confusion, Margins, RiskCoverage
from robustkit.report.document.report import (
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
from robustkit.report.figures.pictures import difference, picture
from robustkit.report.views.html import render_html
from robustkit.report.views.markdown import render_markdown
from robustkit.report.views.notebook import report_card

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
    "GalleryItem",
    "GateResult",
    "Margins",
    "Method",
    "Nearest",
    "Picture",
    "Report",
    "RiskCoverage",
    "Section",
    "SignOff",
    "SliceRow",
    "Subject",
    "ThreatModel",
    "Verdict",
    "WorstCase",
    "build_audit",
    "build_report",
    "difference",
    "from_json",
    "load",
    "picture",
    "read_about",
    "render_html",
    "render_markdown",
    "report_card",
    "result_sha256",
    "save",
    "schema",
    "to_json",
]
