"""`robustkit compare`: what changed between two audits of the same samples."""

from __future__ import annotations

from pathlib import Path

import click

from robustkit.base.exit_codes import ExitCode
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say_file


@click.command("compare", cls=Command, short_help="What changed between two audits of the same samples.")
@click.argument("first", metavar="BEFORE", type=click.Path(path_type=Path))
@click.argument("second", metavar="AFTER", type=click.Path(path_type=Path))
@click.option("--before", metavar="NAME", help="Which model of BEFORE, where it has several.")
@click.option("--after", metavar="NAME", help="Which model of AFTER, where it has several.")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("robustkit-compare"),
    show_default=True,
    help="Folder for compare.html, compare.md and compare.json.",
)
def command(first: Path, second: Path, before: str | None, after: str | None, seed: int, out: Path) -> ExitCode:
    """Compare two audits of the same samples, such as before and after a defense, pruning or quantisation.

    BEFORE and AFTER are folders that `robustkit audit` wrote, or the report.json in them with the ledger beside it.
    Samples are joined by id, and refused where they are not the same.

    \b
    Example, for a quantised model, which has no gradient, against the original:
      robustkit audit mine:original  --data test.npz \\
          --attack square --surrogate mine:original --out before
      robustkit audit mine:quantised --data test.npz \\
          --attack square --surrogate mine:original --out after
      robustkit compare before after
    """
    from rich.text import Text

    from robustkit.base.write_file import write_atomically
    from robustkit.cli.shared import terminal
    from robustkit.cli.shared.report_files import as_stated, check_folder
    from robustkit.report.compare.comparison import compare, comparison_json
    from robustkit.report.compare.figures import points
    from robustkit.report.compare.views import headline, interval, render_comparison_html, render_comparison_markdown
    from robustkit.report.text import words

    check_folder(out)
    with as_stated(first, second):
        found = compare(first, second, before_name=before, after_name=after, seed=seed)
        pages = {
            "compare.json": comparison_json(found),
            "compare.html": render_comparison_html(found),
            "compare.md": render_comparison_markdown(found),
        }
    for name, text in pages.items():
        write_atomically(out / name, text)
    answer(found)
    console = terminal.out()
    title = f"{found.before.name} -> {found.after.name}, the same {found.n:,} samples of {found.data}"
    columns = ("", "before", "after", "points", "95 % interval", "lost", "won", "p")
    table = terminal.plain_table(*columns, left=[""], narrow=True)
    for row in found.rows:
        pair = row.paired
        cells = [words.percent(row.before.value), words.percent(row.after.value)]
        cells += [points(pair.difference), interval(pair.interval), str(pair.b), str(pair.c)]
        table.add_row(Text(row.title), *cells, words.p_value(pair.p_value))
    terminal.print_titled(console, title, table)
    for line in (headline(found), *found.caveats):
        console.print(Text(f"  {line}"))
    say_file(out / "compare.html", "page")
    return ExitCode.UNRELIABLE if found.before.doubt or found.after.doubt else ExitCode.OK
