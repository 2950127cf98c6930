"""Shards of an audit, made by hand on several machines."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustkit.base.errors import ConfigurationError
from robustkit.base.exit_codes import ExitCode
from robustkit.base.foreign_file import content, parsing
from robustkit.base.write_file import write_atomically
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command_line import typed, without
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.old_spellings import current

if TYPE_CHECKING:
    from robustkit.evaluation.result import Evaluation

NAME = "shard.json"
_OWN = ("--shard", "--out")  # options that differ from shard to shard


def read_shard(text: str) -> tuple[int, int]:
    """Returns (0, 4) for "1/4".

    Raises:
        ConfigurationError: If it is no shard.
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= count:
        raise ConfigurationError(f"--shard: expected 1/N to N/N, got {text!r}; 2/4 is the second of four")
    return index - 1, count


def write_shard(folder: Path, evaluation: Evaluation, shard: str) -> ExitCode:
    """Notes beside its parts that a shard is finished, says so, and returns the exit code."""
    note = {"shard": shard, "arguments": without(typed(), _OWN)}
    write_atomically(folder / NAME, json.dumps({**note, "sha256": _sha256(note)}, indent=2) + "\n")
    done, total = len(evaluation.ledger), evaluation.total
    answer(folder=folder, shard=shard, samples=done, total=total)
    say(f"  shard {shard} {folder}, {done} of {total} samples; put all of them together with robustkit merge")
    return ExitCode.OK


def read_arguments(folders: Sequence[Path]) -> list[str]:
    """Returns the command line that all shards share, after the name of the program.

    Raises:
        ConfigurationError: If one is missing or not finished, or they are shards of different commands.
    """
    notes = {folder: _read_note(folder) for folder in folders}
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


def is_finished(folder: Path, words: Sequence[str]) -> bool:
    """Returns whether the shard of a command, its words without those of a shard, is finished in a folder.

    Raises:
        ConfigurationError: If another command's is.
    """
    if not (folder / NAME).is_file():
        return False
    if (there := _read_note(folder)["arguments"]) != current(words):
        raise ConfigurationError(
            f"--launch: expected shards of this command in '{folder.parent}', got those of 'robustkit"
            f" {shlex.join(there)}'; repeat that, remove them, or choose another --out"
        )
    return True


def _read_note(folder: Path) -> Mapping[str, Any]:
    """Returns what a finished shard says of itself, its options under their names of today."""
    with parsing("merge", "the folder of a finished shard", "finish it with --resume", f"'{folder}'"):
        note = json.loads(content(folder / NAME))
        shard, words, digest = note["shard"], note["arguments"], note.get("sha256")
        whole = all(isinstance(word, str) for word in (shard, *words)) and set(note) <= {"shard", "arguments", "sha256"}
    # An earlier version wrote no hash.
    if not whole or digest not in (None, _sha256({"shard": shard, "arguments": words})):
        raise ConfigurationError(
            f"merge: expected '{folder / NAME}' as it was written, got another content; repeat the shard with --resume"
        )
    return {"shard": shard, "arguments": current(words)}


def _sha256(note: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()
