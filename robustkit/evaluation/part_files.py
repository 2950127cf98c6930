"""Finished work in files of a folder, each whole or not there, with a hash: from them a killed run resumes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.foreign_file import parsing
from robustkit.base.processes import Ranks
from robustkit.base.settings import every, path
from robustkit.base.signals import held
from robustkit.base.write_file import clear_drafts
from robustkit.data.dataset import Batch, samples_sum
from robustkit.defenses.training.checkpoint import Facts, Tensors, read, write

EVERY = 5.0  # seconds between two writings
_ENDING = ".safetensors"


def check_folders(who: str, folder: Any, finished: Any) -> None:
    """Raises ConfigurationError where these are no paths to write to and to take over from."""
    if folder is not None:
        path(who, "folder", folder)
    every(who, "finished", finished, str, os.PathLike)


class PartFiles:
    """The files of one kind of work.

    Args:
        settings: All that decides the results, as text; files with others are refused.
        folder: Where this process writes; nothing is kept where it is None.
        finished: Folders with files that are taken over.
        kind: "" for the attacks of an evaluation; of what comes after them its name and a dash.
    """

    def __init__(
        self, settings: Mapping[str, str], folder: str | Path | None, finished: Sequence[str | Path], kind: str = ""
    ) -> None:
        self.settings, self.kind = settings, kind
        self.folder = None if folder is None else Path(folder)
        self.finished = [Path(place) for place in finished]
        self.written = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return self.folder is not None and time.monotonic() - self.written >= EVERY

    def read(self) -> list[tuple[Path, Tensors, Facts]]:
        """Returns path and content of all that was finished; what is in the folder otherwise is removed.

        Raises:
            ConfigurationError: If it belongs to other work, or is not as it was written.
        """
        if self.folder:
            clear_drafts(self.folder)
        if self.folder and self.folder not in self.finished:
            for file in self.folder.glob(f"part-{self.kind}*{_ENDING}"):
                file.unlink()
        return [
            (file, *self._read(file))
            for place in self.finished
            for file in sorted(place.glob(f"part-{self.kind}[0-9]*{_ENDING}"))
        ]

    def write(self, number: int, tensors: Tensors, facts: Facts) -> None:
        """Writes one file, whole or not at all, in the place of an earlier one with its number."""
        self.written = time.monotonic()
        if self.folder:
            place = self.folder / f"part-{self.kind}{number:09d}{_ENDING}"
            write(place, tensors, {"settings": dict(self.settings), "part": facts})

    def _read(self, file: Path) -> tuple[Tensors, Facts]:
        tensors, facts = read(file)
        with unpacking(file):
            for name, there in facts["settings"].items():
                if (here := self.settings.get(name)) != there:
                    raise ConfigurationError(
                        f"evaluate: expected {name} {there!r} as in '{file}', got {here!r}; repeat it, or begin anew"
                    )
            return tensors, facts["part"]


def unpacking(file: Path) -> AbstractContextManager[None]:
    """Context in which the content of a file is used, which may be that of an earlier version."""
    return parsing(f"evaluate: '{file}'", "a finished part of an evaluation", "begin anew, or leave its folder out")


class Pieces:
    """The finished pieces of work that comes after the attacks, by number; every process does its own.

    Args:
        kind: What the work is called.
        settings: Returns all that decides the results, as text.
        folder: Where this process writes; nothing is kept where it is None.
        finished: Folders with pieces that are taken over.
        here: The processes that share the work; all of them make this.

    Raises:
        ConfigurationError: If the finished pieces belong to other work.
    """

    def __init__(
        self,
        kind: str,
        settings: Callable[[], Mapping[str, str]],
        folder: str | Path | None,
        finished: Sequence[str | Path],
        here: Ranks,
    ) -> None:
        self.used = folder is not None or len(finished) > 0
        self.files = PartFiles(settings() if self.used else {}, folder, finished, f"{kind}-")
        found = here.told(self.files.read)
        self.there = {int(file.stem.rpartition("-")[2]): content for file, *content in found}
        self.sums: dict[int, int] = {}
        self.waiting: dict[int, tuple[Tensors, Facts]] = {}

    def known(self, number: int, batch: Batch) -> tuple[Tensors, Facts] | None:
        """Returns what an earlier run found of a piece, if anything.

        Args:
            number: Of the piece.
            batch: Its samples.

        Raises:
            InvalidEvaluation: If it was about other samples.
        """
        if not self.used:
            return None
        self.sums[number] = samples_sum(batch.x.detach(), batch.y, batch.ids)
        if number not in self.there:
            return None
        tensors, facts = self.there[number]
        if facts["samples"] != self.sums[number]:
            raise InvalidEvaluation("evaluate: expected the samples of the finished parts, got others; begin anew")
        return tensors, facts

    def add(self, number: int, tensors: Tensors, facts: Facts | None = None) -> None:
        """Notes how far a piece is, and writes all that wait every few seconds."""
        if self.files.folder:
            self.waiting[number] = tensors, {**(facts or {}), "samples": self.sums[number]}
            if self.files.due:
                self._write()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Context of the work: at its end, or when it is interrupted, all that is finished is written."""
        try:
            yield
        finally:
            with held():
                self._write()

    def _write(self) -> None:
        for number in [*self.waiting]:
            self.files.write(number, *self.waiting[number])
            del self.waiting[number]
