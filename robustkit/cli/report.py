"""`robustkit report`: the pages of a report, drawn again from its JSON."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report", short_help="Draw the pages again from a report's JSON.")
@click.argument("source", metavar="REPORT.json", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), help="File to write  [default: beside the JSON]")
@click.option("--markdown", help="File to write, - for standard output.")
def command(source: Path, html: Path | None, markdown: str | None) -> None:
    """Render HTML or Markdown from the JSON alone.

    \b
    Example:
      robustkit report robustkit-demo/report.json --markdown - >> "$GITHUB_STEP_SUMMARY"
    """
    from robustkit.files import write_atomically
    from robustkit.report import load, render_html, render_markdown

    report = load(source)
    if html or not markdown:
        click.echo(write_atomically(html or source.with_suffix(".html"), render_html(report)), err=markdown == "-")
    if markdown == "-":
        click.echo(render_markdown(report), nl=False)
    elif markdown:
        click.echo(write_atomically(markdown, render_markdown(report)))
