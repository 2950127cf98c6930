"""The command line: each sub-command parses, calls and prints, in a file of its own."""

from __future__ import annotations

if __name__ != "robustkit.cli":
    raise ImportError("import robustkit.cli; cli/ is a link for people")

import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module

import click

from robustkit.base.errors import RobustkitError, one_line, suggest
from robustkit.base.exit_codes import ExitCode, listed
from robustkit.base.foreign_code import raised_by
from robustkit.base.memory import no_room, ran_out
from robustkit.base.signals import end_as_interrupted
from robustkit.base.version import __version__
from robustkit.cli.shared.echo import say

GROUPS = {
    "Measure": ("audit", "corrupt", "certify", "doctor", "clean-data", "plan", "merge"),
    "Defend": ("train", "ensemble", "calibrate"),
    "Report": ("report", "verify", "gate", "compare", "history", "rerun"),
    "Learn": ("demo", "attacks", "selftest"),
}
COMMANDS = tuple(name for names in GROUPS.values() for name in names)
SHARED = ("audit", "train")  # what several processes can do together
WIDEST = 100
COMPLETING = "_ROBUSTKIT_COMPLETE"
SETTINGS = {"help_option_names": ["-h", "--help"]}


class Commands(click.Group):
    """Sub-commands by file name; torch is imported by the one that runs, not by `--help`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names, by what they are for."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands by what they are for."""
        for title, names in GROUPS.items():
            with formatter.section(title):
                commands = ((name, self.get_command(ctx, name)) for name in names)
                formatter.write_dl([(name, command.get_short_help_str(70)) for name, command in commands if command])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns the command of `robustkit/cli/<name>.py`, "-" read as "_"."""
        if cmd_name not in COMMANDS:
            raise click.UsageError(f"no command {cmd_name!r}{suggest(cmd_name, COMMANDS)}")
        if launched() and cmd_name not in SHARED:
            raise click.UsageError(f"torchrun: expected {' or '.join(SHARED)}, got {cmd_name!r}; run it by itself")
        command: click.Command = import_module(f"robustkit.cli.{cmd_name.replace('-', '_')}").command
        return command


@click.group(cls=Commands, context_settings=SETTINGS, epilog=listed())
@click.version_option(__version__, prog_name="robustkit", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, expose_value=False, help="Where something fails, also print the traceback.")
def cli() -> None:
    """Attack, defend and audit any PyTorch classifier.

    Begin with `robustkit demo`, then `robustkit audit --help`. With --json every command answers in JSON, with
    --config FILE it takes its options from a TOML file.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code; every failure is one line on standard error.

    With `--debug`, wherever it stands, the traceback is printed, too.
    """
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    kept = [word for word in words if word != "--debug"]
    try:
        if any("\0" in word for word in kept):
            raise click.UsageError("expected words as a shell gives them, got one with a NUL character; correct it")
        with _together():
            width = min(shutil.get_terminal_size().columns, WIDEST) - 2
            result = cli.main(args=kept, prog_name="robustkit", standalone_mode=False, obj=kept, terminal_width=width)
        return result if isinstance(result, int) else ExitCode.OK
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message(), err=True)
        return ExitCode.USAGE
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and COMPLETING in os.environ:  # so click ends what the shell asked for
            return ExitCode.OK
        if isinstance(error.__context__ if isinstance(error, SystemExit) else error, BrokenPipeError):  # rich leaves so
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the reader of our output has gone
            return ExitCode.OK
        if len(kept) < len(words) and not isinstance(error, click.ClickException):
            traceback.print_exception(error)
        return _say(*_told(error))


def _told(error: BaseException) -> tuple[str, ExitCode]:
    """Returns what to say about an error, and its exit code: whose fault it is decides both."""
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "interrupted", ExitCode.INTERRUPTED
    if isinstance(error, click.ClickException):
        return error.format_message(), ExitCode.USAGE
    if ran_out(error):
        error = no_room(error)
    if isinstance(error, RobustkitError):
        return str(error), error.exit_code
    who = "code that was called" if isinstance(error, SystemExit) else raised_by(error)
    if who:
        return f"{who} raised {one_line(error)}; repair it (--debug shows where)", ExitCode.USAGE
    if isinstance(error, OSError):
        return f"expected files that can be read and written, got {error}", ExitCode.USAGE
    return f"{one_line(error)} (this is a bug of robustkit; --debug shows where)", ExitCode.INTERNAL


def launched() -> bool:
    """Whether `torchrun` started this process, perhaps beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def _together() -> AbstractContextManager[object]:
    """Returns the context in which the processes of `torchrun` can talk."""
    if not launched():
        return nullcontext()
    from robustkit.base.processes import joined

    return joined()


def _say(text: str, code: int) -> int:
    if launched():
        from robustkit.base.processes import speaks

        if not speaks():
            return code
    say("robustkit: " + " ".join(text.split()), err=True)
    return code


def main() -> None:
    """The console script.

    Its threads sleep while they wait for each other: where they spin, which is the default of OpenMP, and something
    else runs on the machine, a step of PGD on a small network took ten times as long (docs/results.md).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read by OpenMP when torch is imported
    end_as_interrupted()
    sys.exit(run())
