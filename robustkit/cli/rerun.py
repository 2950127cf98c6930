"""`robustkit rerun`: the audit of a report once more, by the command that the report records."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from robustkit.base.errors import ConfigurationError
from robustkit.base.exit_codes import ExitCode
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.command_line import without
from robustkit.cli.shared.echo import say

REPEATABLE = ("audit", "demo", "ensemble")


@click.command("rerun", cls=Command, short_help="Repeat the audit of a report, and say whether it comes out the same.")
@click.argument("source", metavar="REPORT", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("robustkit-rerun"),
    show_default=True,
    help="Folder for the new report.",
)
@click.option("--yes", is_flag=True, help="Do not ask before the command runs.")
def command(source: Path, out: Path, yes: bool) -> int:
    """Run the command that REPORT records again, and compare the ledgers byte by byte.

    Paths in the command are read from the folder this is called in. The command may run code, that of the model it
    names: it is shown first, and runs if you say so.

    The exit code is 0 where every sample came out the same, on all figures of its row, else 1.
    """
    from robustkit.cli import run
    from robustkit.cli.gate import report_path

    folder = report_path(source).parent
    words = _recorded(report_path(source))
    ledgers = sorted(path.name for path in folder.glob("ledger*.csv"))
    if not ledgers or folder.resolve() == out.resolve():
        wrong = "a report with its ledger beside it" if not ledgers else "another folder than that of REPORT for --out"
        raise ConfigurationError(f"rerun: expected {wrong}, got '{folder}'; give one")
    words = [*without(words, ["--out"]), "--out", str(out)]
    said = shlex.join(["robustkit", *words])
    say(f"  {said}", err=not yes)
    if not yes:
        click.confirm("  run this? It may run code that the model and the data name", abort=True, err=True)
    code = run(words)
    if code in (ExitCode.USAGE, ExitCode.INTERNAL, ExitCode.INTERRUPTED):
        return code
    other = [name for name in ledgers if _content(folder / name) != _content(out / name)]
    answer(command=said, same=not other, different=other)
    if other:
        say(f"  not the same: {', '.join(other)}; `robustkit compare {shlex.join([str(folder), str(out)])}` says where")
        return ExitCode.NOT_MET
    say("  the same: every row of the ledger, byte by byte")
    return ExitCode.OK


def _recorded(path: Path) -> list[str]:
    from robustkit.report import load

    text = load(path).command
    words = shlex.split(text or "")
    if words[:1] != ["robustkit"] or words[1:2] not in [[name] for name in REPEATABLE]:
        got = "no command: it was written from Python" if text is None else repr(text)
        raise ConfigurationError(
            f"rerun '{path}': expected a report of `robustkit {' or '.join(REPEATABLE)}`, got {got}; run that again"
        )
    return words[1:]


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
