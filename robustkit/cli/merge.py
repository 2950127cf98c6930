"""`robustkit merge`: from the shards of an audit to its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from robustkit.base.errors import ConfigurationError
from robustkit.base.exit_codes import ExitCode
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.signing import sign_options

TRUST = "--trust-checkpoint"


@click.command("merge", cls=Command, short_help="Put the shards of an audit together.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("robustkit-report"),
    show_default=True,
    help="Folder for the report.",
)
@click.option(
    TRUST, "trust", is_flag=True, help="Also call functions and read files that can run code, as the shards did."
)
@click.option("--option", "options", multiple=True, metavar="NAME[=VALUE]", help="Of audit, such as curve=2/255,4/255.")
@click.option("--resume", is_flag=True, help="Resume what --option adds where the same command was interrupted.")
@sign_options
def command(
    folders: tuple[Path, ...],
    out: Path,
    trust: bool,
    options: tuple[str, ...],
    resume: bool,
    sign: Path | None,
    timestamp: str | None,
) -> ExitCode:
    """Put together what `robustkit audit ... --shard I/N` left in DIR..., and write the report.

    Report and ledger are those of one process, but for times and machine. Model and data are loaded once more, by the
    command line that the shards wrote down. An option that differs on this machine, or that shards cannot do, is given
    by name.

    \b
    Examples:
      robustkit merge shard-1 shard-2 shard-3
      robustkit merge shard-* \\
          --option data-root=/scratch/data --option minimal
    """
    from robustkit.cli import audit
    from robustkit.cli.shared.command_line import without
    from robustkit.cli.shared.shards import read_arguments

    words = read_arguments(folders)
    if without(words, ("--sign", "--timestamp")) != words:
        raise ConfigurationError(
            "merge: expected shards that name no key, got --sign or --timestamp; give it to merge, if you mean it"
        )
    if without(words, ("--launch",)) != words:
        raise ConfigurationError("merge: expected finished shards, got --launch in what they say; make them again")
    if not trust:
        refuse_calls(words)
    for option in options:
        name, equals, value = option.partition("=")
        words += [f"--{name}", value] if equals else [f"--{name}"]
    words += ["--out", str(out)]
    parts = [word for folder in folders for word in ("--finished", str(folder))]
    parts += ["--resume"] if resume else []
    parts += ["--sign", str(sign)] if sign else []
    parts += ["--timestamp", timestamp] if timestamp else []
    code: ExitCode = audit.command.main([*words[1:], *parts], "robustkit audit", standalone_mode=False, obj=words)
    return code


def refuse_calls(words: Sequence[str]) -> None:
    """Raises ConfigurationError where a command line, which a folder from elsewhere may hold, would run other code."""
    from robustkit.base.registry import is_address
    from robustkit.base.settings import split
    from robustkit.cli import audit
    from robustkit.loading.model import loads_only
    from robustkit.loading.transform import names_only

    named = audit.command.make_context("audit", [*words[1:]], resilient_parsing=True).params
    models = [str(named[name]) for name in ("model", "surrogate") if ":" in str(named.get(name))]
    risky = [name for name in models if not loads_only(name)]
    risky += [str(named["data"])] if is_address(split(str(named.get("data")))[0]) else []  # called even beside a file
    risky += [] if names_only(str(named.get("transform"))) else [str(named["transform"])]
    if risky or TRUST in words:
        raise ConfigurationError(
            f"merge: expected shards that run no foreign code, got {risky[0] if risky else TRUST!r}; {TRUST} runs it"
            " all the same: use it only if you trust whoever made the shards"
        )
