"""The report as one HTML file: nothing is fetched, no script is needed, and it reads well on paper too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robustkit.attacks.names import attack_name
from robustkit.base.settings import every, instance
from robustkit.checks.convergence import last_tenth
from robustkit.checks.diagnostic import check_name
from robustkit.report.custom_sections import Section
from robustkit.report.document.gallery import GalleryItem
from robustkit.report.document.report import Audit, Report
from robustkit.report.figures import bars, curves, diagrams, matrices
from robustkit.report.text import (
    failed_checks,
    frameworks,
    recommendations,
    risks,
    sections,
    sentences,
    side_by_side,
    table_sentences,
    words,
)
from robustkit.report.text.attack_rows import attack_rows
from robustkit.report.views import head, tables

_PICTURES = 1_500_000  # characters of base64 on the whole page, which keeps it below 3 MB


@dataclass(frozen=True)
class _Page:
    """An audit with the figures drawn from it and their tables; `ident` begins every id it has on the page."""

    ident: str
    audit: Audit
    figures: dict[str, Markup]
    data: dict[str, Markup]
    gallery: tuple[GalleryItem, ...]


def render_html(report: Report, own: Sequence[Section] = ()) -> str:
    """Returns the report as one HTML page, drawn from the report alone and the same bytes every time.

    Args:
        report: The report.
        own: Sections of one's own, at the end; the page in a bundle has none.
    """
    instance("report", "the report", report, Report)
    every("report", "own", own, Section)
    pages = [_page(audit, f"audit-{number}", len(report.audits)) for number, audit in enumerate(report.audits, 1)]
    overview = bars.comparison(report.audits, "overview-figure") if len(pages) > 1 else None
    return _ENVIRONMENT.get_template("report.html.j2").render(report=report, pages=pages, overview=overview, own=own)


def _page(audit: Audit, ident: str, among: int) -> _Page:
    return _Page(
        ident=ident,
        audit=audit,
        figures=_figures(audit, ident),
        data={name: tables.link(f"{ident}-{name}", text) for name, text in tables.tables(audit).items()},
        gallery=_affordable(audit.gallery, _PICTURES // among),
    )


def _figures(audit: Audit, ident: str) -> dict[str, Markup]:
    """Every figure the audit has something for, by name."""
    clean, attacked = diagrams.reliability(audit.calibration, f"{ident}-reliability")
    found = {
        "accuracy": bars.accuracy(audit, f"{ident}-accuracy-figure"),
        "classes": bars.per_class(audit, f"{ident}-classes-figure") if sentences.ranked(audit) else None,
        "slices": bars.slices(audit, f"{ident}-slices-figure") if audit.slices else None,
        "convergence": diagrams.convergence(audit.attacks, f"{ident}-convergence-figure"),
        "curve": curves.accuracy_curve(audit, f"{ident}-curve-figure"),
        "margins": curves.margins(audit.margins, f"{ident}-margins-figure") if audit.margins else None,
        "risk": curves.risk_coverage(audit.risk_coverage, f"{ident}-risk-figure") if audit.risk_coverage else None,
        "transfer": matrices.transfer(audit.ensemble, f"{ident}-transfer-figure") if audit.ensemble else None,
        "reliability clean": clean,
        "reliability attacked": attacked,
    }
    if audit.confusion and (
        pair := matrices.confusion(audit.confusion, audit.subject.class_names, f"{ident}-confusion-figure")
    ):
        found["confusion"], found["confusion change"] = pair
    return {name: figure for name, figure in found.items() if figure is not None}


def _affordable(gallery: tuple[GalleryItem, ...], room: int) -> tuple[GalleryItem, ...]:
    """The samples whose pictures fit into the page, one of each kind before all others; the JSON holds them all."""
    first = {one.broken: one for one in reversed(gallery)}.values()
    shown = []
    for one in (*first, *(one for one in gallery if one not in first)):
        room -= sum(len(picture.png) for picture in one.pictures)
        if room < 0:
            break
        shown.append(one)
    return tuple(one for one in gallery if one in shown)


def _printable(value: Any) -> Any:
    # Applied to everything a template prints, so that no name can hide in control characters.
    return words.visible(value) if type(value) is str else value


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("robustkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,  # nothing to fold, and most of the time of a page goes into compiling its templates
    )
    modules = (
        *(failed_checks, frameworks, head, recommendations, risks),
        *(sections, sentences, side_by_side, table_sentences, words),
    )
    environment.globals.update({module.__name__.rsplit(".", 1)[1]: module for module in modules})
    environment.globals.update(
        attack_name=attack_name, attack_rows=attack_rows, check_name=check_name, last_tenth=last_tenth
    )
    environment.filters["attack_name"] = attack_name
    return environment


_ENVIRONMENT = _environment()


def render_page(template: str, **values: Any) -> str:
    """Returns a page drawn from another template of this folder, in the style of the report."""
    return _ENVIRONMENT.get_template(template).render(**values)
