"""Shards of an audit, made by hand on several machines, and what is kept of an audit that is interrupted."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustkit.base.errors import ConfigurationError, RobustkitError
from robustkit.base.write_file import write_atomically

if TYPE_CHECKING:
    from robustkit.evaluation.result import Evaluation

NAME = "shard.json"
_OWN = ("--shard", "--out")  # options that differ from shard to shard


class Interrupted(RobustkitError):
    """Somebody pressed Ctrl-C, and the message says what is kept."""

    exit_code = 130


def read_shard(text: str | None) -> tuple[int, int] | None:
    """Returns (0, 4) for "1/4", None for None.

    Raises:
        ConfigurationError: If it is no share.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= count:
        raise ConfigurationError(f"--shard: expected 1/N to N/N, got {text!r}; 2/4 is the second of four")
    return index - 1, count


def place_of(shard: str | None, out: Path) -> Path:
    """Returns the folder of a shard where nobody named one, else `out`."""
    named = click.get_current_context().get_parameter_source("out") is not click.core.ParameterSource.DEFAULT
    return out if named or shard is None else Path(f"robustkit-shard-{shard.replace('/', '-of-')}")


@contextmanager
def keeping(folder: Path | None, resume: bool) -> Iterator[None]:
    """Context for an evaluation whose finished parts are kept in `folder`, if any; says so when it is interrupted.

    Raises:
        ConfigurationError: If there is nothing to go on from.
    """
    if resume and (folder is None or not any(folder.glob("part-*"))):
        got = "--until or --budget, of which nothing is kept" if folder is None else f"none in '{folder}'"
        raise ConfigurationError(
            f"--resume: expected finished parts of an interrupted run, got {got}; run it without --resume"
        )
    from robustkit.base.processes import ranks

    try:
        yield
    except KeyboardInterrupt:
        alone = ranks().count == 1
        if folder is None or (alone and not any(folder.glob("part-*"))):
            raise
        kept = "what is finished" if alone else "what any process has finished"
        again = f"{'' if alone else 'torchrun ... -m '}robustkit {shlex.join([*typed(), '--resume'])}"
        raise Interrupted(f"interrupted; {kept} is kept in '{folder}'; go on with: {again}") from None


def write_shard(out: Path, evaluation: Evaluation, shard: str | None) -> int:
    """Notes beside its parts that a shard is finished, says so, and returns the exit code."""
    note = {"shard": shard, "arguments": without(typed(), _OWN)}
    write_atomically(out / NAME, json.dumps(note, indent=2) + "\n")
    done, total = len(evaluation.ledger), evaluation.total
    click.echo(f"  shard {shard} {out}, {done} of {total} samples; put all of them together with robustkit merge")
    return 0


def read_arguments(folders: Sequence[Path]) -> list[str]:
    """Returns the command line that all shards share, after the name of the program.

    Raises:
        ConfigurationError: If one is missing or not finished, or they are shards of different commands.
    """
    notes = {}
    for folder in folders:
        try:
            notes[folder] = json.loads((folder / NAME).read_text())
        except (OSError, ValueError):
            raise ConfigurationError(
                f"merge: expected the folder of a finished shard, got '{folder}'; finish it with --resume"
            ) from None
    first = notes[folders[0]]
    for folder, note in notes.items():
        if note["arguments"] != first["arguments"]:
            raise ConfigurationError(
                f"merge: expected shards of one command, got '{shlex.join(first['arguments'])}' and, in '{folder}',"
                f" '{shlex.join(note['arguments'])}'; repeat one of them"
            )
    count = int(first["shard"].partition("/")[2])
    wanted, got = [f"{index}/{count}" for index in range(1, count + 1)], [note["shard"] for note in notes.values()]
    if sorted(got) != sorted(wanted):
        raise ConfigurationError(
            f"merge: expected every shard from 1/{count} to {count}/{count} once, got {', '.join(got)}; give all"
        )
    return list(first["arguments"])


def typed() -> list[str]:
    """Returns the words of the command line after the name of the program, as if nothing had been interrupted."""
    words: list[str] = click.get_current_context().find_root().obj
    return [word for word in words if word != "--resume"]


def without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Returns the words of a command line without some options and their values, spelled in either way."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif not word.startswith(tuple(f"{option}=" for option in options)):
            kept.append(word)
    return kept
