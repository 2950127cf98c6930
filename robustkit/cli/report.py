"""`robustkit report`: the pages of a report, and its other forms, drawn again from its JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say, say_file
from robustkit.cli.shared.report_files import as_stated

if TYPE_CHECKING:
    from robustkit.report import Report

FORMATS = ("html", "markdown", "robustbench", "model-card", "csv", "junit", "sarif")


@click.command("report", cls=Command, short_help="Render the pages again from a report's JSON, or export it.")
@click.argument("source", metavar="REPORT", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), help="File to write  [default: beside the JSON]")
@click.option("--markdown", help="File to write, - for standard output.")
@click.option("-f", "--format", "formats", multiple=True, type=click.Choice(FORMATS), help="May be repeated.")
@click.option(
    "--section",
    "sections",
    multiple=True,
    metavar="NAME",
    help="Draw report-extended.html with this section of a plug-in, or at package.module:NAME.",
)
@click.option("--out", metavar="FOLDER", help="For --format, - for standard output  [default: see below]")
def command(
    source: Path,
    html: Path | None,
    markdown: str | None,
    formats: tuple[str, ...],
    sections: tuple[str, ...],
    out: str | None,
) -> None:
    """Render REPORT, a report.json or its folder, from the JSON alone.

    \b
    Formats beside HTML and Markdown:
      robustbench   model_info JSON of the leaderboard
                    (AutoAttack only where it ran as published)
      model-card    Hugging Face model card with a model-index
      csv           the data behind every figure, a file each
      junit, sarif  gates and diagnostics for build servers

    They are written beside the JSON. What is not part of a bundle goes into a folder beside the bundle, named after it
    with -exports: a bundle with other files in it is not what its manifest says.

    \b
    Examples:
      robustkit report robustkit-demo --markdown - >> "$GITHUB_STEP_SUMMARY"
      robustkit report robustkit-demo -f model-card -f csv
    """
    from robustkit.base.write_file import write_atomically
    from robustkit.cli.gate import report_path
    from robustkit.report import load, render_html

    path = report_path(source)
    report = load(path)
    answer(report=report)
    if sections:
        from robustkit.report.custom_sections import SECTIONS

        with as_stated(path):
            page = render_html(report, [SECTIONS.find(name) for name in sections])
        name = "report-extended.html"
        say_file(write_atomically(html or (Path(out) if out else _place(path, name)) / name, page))
        return
    if formats:
        files = {name: text for kind in formats for name, text in _rendered(kind, report, path).items()}
        if out == "-":
            if len(files) > 1:
                raise ConfigurationError(
                    f"--out: expected one file for standard output, got {len(files)}; give a folder"
                )
            say(next(iter(files.values())), nl=False)
            return
        for name, text in files.items():
            say_file(write_atomically((Path(out) if out else _place(path, name)) / name, text))
        return
    if html or not markdown:
        (page,) = _rendered("html", report, path).values()
        say_file(write_atomically(html or path.with_suffix(".html"), page), err=markdown == "-")
    if markdown:
        (page,) = _rendered("markdown", report, path).values()
        if markdown == "-":
            say(page, nl=False)
        else:
            say_file(write_atomically(markdown, page))


def _place(path: Path, name: str) -> Path:
    """Returns the folder of an export by default: never a bundle's own, unless the bundle has a file of that name."""
    from robustkit.report.document.manifest import NAME, PAGES

    folder = path.parent
    if name in PAGES or not (folder / NAME).exists():
        return folder
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}-exports")


def _rendered(kind: str, report: Report, path: Path) -> dict[str, str]:
    """Returns the text of a format by file name; raises ConfigurationError where figures contradict each other."""
    with as_stated(path):
        return _texts(kind, report, path)


def _texts(kind: str, report: Report, path: Path) -> dict[str, str]:
    from robustkit.report import render_html, render_markdown
    from robustkit.report.exports import exports
    from robustkit.report.exports.junit import render_junit
    from robustkit.report.exports.sarif import render_sarif

    if kind == "robustbench":
        several = len(report.audits) > 1
        names = [f"robustbench{f'-{number}' if several else ''}.json" for number in range(1, len(report.audits) + 1)]
        return dict(zip(names, map(exports.robustbench, report.audits), strict=True))
    if kind == "csv":
        return {f"csv/{name}": text for name, text in exports.tables(report).items()}
    render: dict[str, Callable[[], tuple[str, str]]] = {
        "html": lambda: ("report.html", render_html(report)),
        "markdown": lambda: ("report.md", render_markdown(report)),
        "model-card": lambda: ("model-card.md", exports.model_card(report)),
        "junit": lambda: ("junit.xml", render_junit(report)),
        "sarif": lambda: ("report.sarif", render_sarif(report, path)),
    }
    name, text = render[kind]()
    return {name: text}
