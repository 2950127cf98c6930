"""`robustkit history`: what the audits in a folder found over time."""

from __future__ import annotations

from pathlib import Path

import click

from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say, say_file


@click.command("history", cls=Command, short_help="A page of all audits in a folder, over time.")
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("robustkit-history"),
    show_default=True,
    help="Folder for history.html, which links to the reports from there.",
)
def command(folders: tuple[Path, ...], out: Path) -> None:
    """List and draw the robust accuracy of every audit in FOLDER, however deep its report.json lies.

    Audits of the same samples under the same threat model share a figure and a table.

    \b
    Example:
      robustkit history reports --out reports-history
    """
    from rich.text import Text

    from robustkit.base.write_file import write_atomically
    from robustkit.cli.shared import terminal
    from robustkit.cli.shared.report_files import as_stated, check_folder
    from robustkit.report.history.history import read_history
    from robustkit.report.history.views import render_history

    check_folder(out)
    history = read_history(folders)
    with as_stated(*folders):
        page = render_history(history, out.resolve())
    path = write_atomically(out / "history.html", page)
    answer(history)
    console = terminal.out()
    for group in history.groups:
        columns = ("date", "model", "robust accuracy", "evaluation")
        table = terminal.plain_table(*columns, left=["date", "model"], narrow=True)
        for one in group.entries:
            table.add_row(one.created[:10], Text(one.model), terminal.accuracy(one.robust), one.quality)
        terminal.print_titled(console, group.title, table)
    for line in history.left_out:
        say(f"robustkit: left out {line}", err=True)
    say_file(path, "page")
