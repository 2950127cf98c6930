"""The command line: each sub-command parses, calls and prints, in a file of its own."""

from __future__ import annotations

if __name__ != "robustkit.cli":
    raise ImportError("import robustkit.cli; cli/ is a link for people")

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module

import click

from robustkit.base.errors import RobustkitError, suggest
from robustkit.base.exit_codes import ExitCode, listed
from robustkit.base.version import __version__

COMMANDS = (
    *("audit", "demo", "corrupt", "clean-data", "train", "doctor", "selftest", "attacks"),
    *("ensemble", "calibrate", "certify", "report", "verify", "merge", "gate", "compare", "plan"),
)
SHARED = ("audit", "train")  # what several processes can do together
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Commands(click.Group):
    """Sub-commands by file name; torch is imported by the one that runs, not by `--help`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order a newcomer needs them."""
        return list(COMMANDS)

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
def cli() -> None:
    """Attack, defend and audit any PyTorch classifier.

    Begin with `robustkit demo`, then `robustkit audit --help`.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code; every failure is one line on standard error."""
    try:
        with _together():
            words = [*(sys.argv[1:] if arguments is None else arguments)]
            result = cli.main(args=words, prog_name="robustkit", standalone_mode=False, obj=words)
        return result if isinstance(result, int) else ExitCode.OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    except click.ClickException as error:
        return _say(error.format_message(), ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted; nothing was written", ExitCode.INTERRUPTED)
    except RobustkitError as error:
        return _say(str(error), error.exit_code)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the reader of our output has gone
        return ExitCode.OK
    except OSError as error:
        return _say(f"expected files that can be read and written, got {error}", ExitCode.USAGE)
    except Exception as error:
        if os.environ.get("ROBUSTKIT_TRACEBACK"):
            raise
        hint = "this is a bug; set ROBUSTKIT_TRACEBACK=1 to see where"
        return _say(f"{type(error).__name__}: {error} ({hint})", ExitCode.USAGE)


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
    click.echo("robustkit: " + " ".join(text.split()), err=True)
    return code


def main() -> None:
    """The console script."""
    sys.exit(run())
