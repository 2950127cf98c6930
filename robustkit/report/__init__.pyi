"""The audit report: plain data, its JSON, and the pages drawn from it."""

from .build import build_audit, build_report
from .custom_sections import Section
from .document.about import About, SignOff, read_about
from .document.gallery import ChangedRow, FeatureChange, GalleryItem, Picture
from .document.io import from_json, load, result_sha256, save, schema, to_json
from .document.ledger_summaries import ConfusedPair, Confusion, Margins, RiskCoverage
from .document.report import (
    SCHEMA,
    AccuracyCurve,
    Artefact,
    AttackResult,
    Audit,
    CalibrationPair,
    ClassRow,
    CurvePoint,
    Data,
    Diagnostic,
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
from .exports.tracking import log_report
from .figures.pictures import difference, picture
from .views.html import render_html
from .views.markdown import render_markdown
from .views.notebook import report_card

__all__ = [
    "SCHEMA",
    "About",
    "AccuracyCurve",
    "Artefact",
    "AttackResult",
    "Audit",
    "CalibrationPair",
    "ChangedRow",
    "ClassRow",
    "ConfusedPair",
    "Confusion",
    "CurvePoint",
    "Data",
    "Diagnostic",
    "Ensemble",
    "FeatureChange",
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
    "log_report",
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
