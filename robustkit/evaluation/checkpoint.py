"""Finished parts of an evaluation: as plain tensors and facts, and in a folder from which a killed one goes on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.processes import Ranks
from robustkit.base.signals import held
from robustkit.base.write_file import clear_drafts
from robustkit.defenses.training.checkpoint import Facts, Tensors, under
from robustkit.evaluation.evidence import Evidence
from robustkit.evaluation.gallery import Example, Gallery
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.merge import joined
from robustkit.evaluation.part import Part, Setup
from robustkit.evaluation.part_files import PartFiles, unpacking
from robustkit.maths.calibration import ClasswiseBins
from robustkit.maths.exact_sums import ExactSums

_MANY = 64  # parts that are held before they are put together
_SHOWN = ("x", "x_adv", "saliency", "saliency_adv")
_FILES = "part-*.safetensors"


def pack(part: Part) -> tuple[Tensors, Facts]:
    """Returns what `part` found, without what all parts of the evaluation have in common."""
    tensors: dict[str, Tensor] = {"places": torch.from_numpy(part.places)}
    tensors |= {f"ledger.{name}": torch.from_numpy(column) for name, column in part.ledger.to_dict().items()}
    shelves = part.gallery.kept if part.gallery else {}
    examples = [example for shelf in shelves.values() for example in shelf]
    for row, example in enumerate(examples):
        shown = {name: getattr(example, name) for name in _SHOWN}
        tensors |= {f"example.{row}.{name}": image for name, image in shown.items() if image is not None}
    if part.evidence:
        columns, points = part.evidence.tensors()
        tensors |= {f"evidence.{name}": torch.from_numpy(column) for name, column in columns.items()}
        tensors |= {"points": torch.from_numpy(np.stack(points))} if points else {}
    facts = {
        "names": part.ledger.names,
        "runs": [_numbers(run) | {"path": run.path.totals if run.path else None} for run in part.runs],
        "clean_bins": [part.clean_bins.n, part.clean_bins.excess.totals],
        "attacked_bins": [part.attacked_bins.n, part.attacked_bins.excess.totals],
        "on_grid": part.on_grid,
        "seconds": part.seconds,
        "data_sum": part.data_sum,
        "examples": [_numbers(example) | {"attack": example.attack} for example in examples],
    }
    return tensors, facts


def unpack(tensors: Tensors, facts: Facts, empty: Part) -> Part:
    """Returns the part that `pack` took to pieces; `empty` is one without samples."""
    ledger, classes = Ledger(empty.ledger.attacks, empty.ledger.relaxed), empty.clean_bins.num_classes
    ledger.write(ledger.extend(len(tensors["places"]), facts["names"]), "", **under(tensors, "ledger"))
    gallery = Gallery(empty.gallery.room if empty.gallery else 0, classes)
    for row, values in enumerate(facts["examples"]):
        shown: dict[str, Any] = under(tensors, f"example.{row}")
        example = Example(**shown, **values)
        gallery.put([example])
    return Part(
        ledger=ledger,
        places=tensors["places"].numpy(),
        runs=tuple(
            dataclasses.replace(run, **{**found, "path": found["path"] and ExactSums(found["path"])})
            for run, found in zip(empty.runs, facts["runs"], strict=True)
        ),
        clean_bins=_bins(classes, *facts["clean_bins"]),
        attacked_bins=_bins(classes, *facts["attacked_bins"]),
        gallery=gallery,
        evidence=_evidence(empty, tensors),
        **{name: facts[name] for name in ("on_grid", "seconds", "data_sum")},
    )


class Parts:
    """The finished parts of an evaluation: held, put together, and kept in `folder`, if there is one.

    Args:
        setup: What the parts have in common.
        empty: A part without samples.
        folder: Where this process writes.
        finished: Folders with parts that are taken over.
        begun: Reading of `time.monotonic` when the run began.
    """

    def __init__(
        self,
        setup: Setup,
        empty: Part,
        folder: str | Path | None,
        finished: Sequence[str | Path],
        begun: float,
    ) -> None:
        self.early, self.empty = setup.early, empty
        self.files = PartFiles(setup.settings, folder, finished)
        self.then = begun  # when the last part was finished
        self.taken: list[Part] = []
        self.checked = 0
        self.held = [empty]
        self.waiting: list[Part] = []

    def take_over(self) -> set[int]:
        """Takes the finished parts over and returns the places of their samples in the data.

        What is in the folder and is not taken over is removed.

        Raises:
            ConfigurationError: If they belong to another evaluation.
        """
        self.taken = [self._unpacked(*found) for found in self.files.read()]
        self.held += self.taken
        known = {int(place) for part in self.taken for place in part.places}
        if self.early and known != set(range(len(known))):
            raise ConfigurationError(
                "evaluate: expected all finished parts of a run that may stop early, got some; begin anew"
            )
        return known

    def add(self, part: Part) -> Part:
        """Notes a finished part and the time it took, writes all that wait every few seconds, and returns the part."""
        now = time.monotonic()
        part, self.then = dataclasses.replace(part, seconds=now - self.then), now
        self.held = [*self.held, part] if len(self.held) < _MANY else [joined([*self.held, part])]
        if self.files.folder:
            self.waiting.append(part)
            if self.files.due:
                self.write()
        return part

    def write(self) -> None:
        """Writes all that wait into one new file, whole or not at all."""
        if self.waiting:
            part = joined(self.waiting)
            self.files.write(int(part.places[0]), *pack(part))
            self.waiting = []

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Context of the work: at its end, or when it is interrupted, all that is finished is written.

        Raises:
            InvalidEvaluation: If `check` saw other samples than those of the parts that were taken over.
        """
        try:
            yield
        finally:
            with held():
                self.write()
        if self.checked % 2**256 != sum(part.data_sum for part in self.taken) % 2**256:
            raise InvalidEvaluation("evaluate: expected the samples of the finished parts, got others; begin anew")

    def check(self, data_sum: int) -> None:
        """Notes the hash of samples that were finished before, as they come now."""
        self.checked += data_sum

    def whole(self, here: Ranks) -> Part:
        """Returns what all processes found together; the points stay with the first, which writes them."""
        own = joined(self.held)
        if here.count == 1:
            return own
        everybody = [unpack(*part, self.empty) for part in here.gathered(pack(own))]
        whole = joined([self.empty, *everybody])
        rest = unpack(*here.told(lambda: pack(dataclasses.replace(whole, evidence=None))), self.empty)
        return whole if here.first else joined([self.empty, rest])

    def _unpacked(self, path: Path, tensors: Tensors, facts: Facts) -> Part:
        with unpacking(path):
            return unpack(tensors, facts, self.empty)


def discard(folder: Path) -> None:
    """Removes the parts in a folder, and the folder if nothing else is in it."""
    for path in folder.glob(_FILES):
        path.unlink()
    clear_drafts(folder)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _numbers(item: Any) -> dict[str, int | float]:
    values = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}


def _evidence(empty: Part, tensors: Tensors) -> Evidence | None:
    columns = {name: column.numpy() for name, column in under(tensors, "evidence").items()}
    if empty.evidence is None or not columns:
        return None
    points = list(tensors["points"].numpy()) if "points" in tensors else []
    return Evidence.of(empty.ledger.attacks, columns, points)


def _bins(classes: int, n: int, totals: list[int]) -> ClasswiseBins:
    bins = ClasswiseBins(classes)
    bins.n, bins.excess = n, ExactSums(totals)
    return bins
