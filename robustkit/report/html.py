"""The report as one HTML file: nothing is fetched, no script runs, and it reads well on paper too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robustkit.evaluation import last_tenth
from robustkit.report import bars, diagrams, sentences, words
from robustkit.report.document import Audit, Exhibit, Report

_PICTURES = 1_500_000  # characters of base64 on the whole page, which keeps it below 3 MB


@dataclass(frozen=True)
class _Page:
    """An audit with the figures drawn from it; `ident` begins every id it has on the page."""

    ident: str
    audit: Audit
    accuracy: Markup
    reliability: tuple[Markup, Markup]
    per_class: Markup | None
    convergence: Markup | None
    curve: Markup | None
    gallery: tuple[Exhibit, ...]


def render_html(report: Report) -> str:
    """Returns the report as one HTML page, drawn from the report alone and the same bytes every time."""
    pages = [_page(audit, f"audit-{number}", len(report.audits)) for number, audit in enumerate(report.audits, 1)]
    overview = bars.comparison(report.audits, "overview-figure") if len(pages) > 1 else None
    return _ENVIRONMENT.get_template("report.html.j2").render(report=report, pages=pages, overview=overview)


def _page(audit: Audit, ident: str, among: int) -> _Page:
    return _Page(
        ident=ident,
        audit=audit,
        accuracy=bars.accuracy(audit, f"{ident}-accuracy-figure"),
        reliability=diagrams.reliability(audit.calibration, f"{ident}-reliability"),
        per_class=bars.per_class(audit, f"{ident}-classes-figure") if sentences.ranked(audit) else None,
        convergence=diagrams.convergence(audit.attacks, f"{ident}-convergence-figure"),
        curve=diagrams.accuracy_curve(audit.curve, audit.clean, f"{ident}-curve-figure") if audit.curve else None,
        gallery=_affordable(audit.gallery, _PICTURES // among),
    )


def _affordable(gallery: tuple[Exhibit, ...], room: int) -> tuple[Exhibit, ...]:
    """The first exhibits whose pictures fit into the page; the JSON holds them all."""
    for number, exhibit in enumerate(gallery):
        room -= sum(len(shown.png) for shown in (exhibit.clean, exhibit.adversarial, exhibit.difference))
        if room < 0:
            return gallery[:number]
    return gallery


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
    )
    environment.globals.update(words=words, sentences=sentences, last_tenth=last_tenth)
    return environment


_ENVIRONMENT = _environment()


def render_page(template: str, **values: Any) -> str:
    """Returns a page drawn from another template of this folder, in the style of the report."""
    return _ENVIRONMENT.get_template(template).render(**values)
