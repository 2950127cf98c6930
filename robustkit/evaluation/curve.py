"""Robust accuracy against eps, and the minimal adversarial perturbation of every sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from robustkit.attacks.base import Attack
from robustkit.attacks.protocols import Protocol, as_protocol
from robustkit.attacks.radius import refuse_grey_levels, resized, unit_of
from robustkit.attacks.threat import Eps, parse_eps
from robustkit.base.errors import ConfigurationError
from robustkit.base.memory import in_batches
from robustkit.base.per_coordinate import PerCoordinate
from robustkit.base.processes import ranks
from robustkit.base.settings import every, function, sizes
from robustkit.checks.joining import join_classes
from robustkit.data.dataset import Batch, batches, check_bounds
from robustkit.data.labels import as_labels
from robustkit.data.sampling import sampled
from robustkit.evaluation.class_count import count_classes
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.part_files import Pieces, check_folders
from robustkit.evaluation.part_settings import settings_of
from robustkit.evaluation.progress import Progress
from robustkit.maths.intervals import Proportion, proportion
from robustkit.maths.norms import Norm
from robustkit.model.classifier import Classifier, as_classifier

CHUNK = 4  # batches that go through all attacks together
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Robust accuracy at every radius.

    Attributes:
        norm: Of the radii.
        radii: As typed, ascending.
        accuracy: Share of all samples that no attack broke at this or a smaller radius.
        broken_at: For every sample the smallest radius at which it was broken: 0 if it was wrong from the start,
            infinity if it survives.
        ids: The samples.
        label: Name of the protocol.
        unit: Where eps differs by coordinate, in what proportions; radii are those of the largest.
    """

    norm: Norm
    radii: tuple[Eps, ...]
    accuracy: tuple[Proportion, ...]
    broken_at: Numbers
    ids: npt.NDArray[np.int64]
    label: str
    unit: PerCoordinate | None = None

    def informed(self, ledger: Ledger) -> Curve:
        """Returns the curve with every sample taken as broken where attacks in the same norm came nearer to it."""
        broken_at = _nearer(self.broken_at, self.ids, ledger)
        return dataclasses.replace(self, broken_at=broken_at, accuracy=_accuracy(broken_at, self.radii))


@dataclass(frozen=True)
class Distances:
    """The smallest adversarial perturbation found for every sample, an upper bound of the smallest there is.

    Attributes:
        norm: In which they are measured.
        values: 0 where the sample is wrong from the start, infinity where none was found.
        ids: The samples.
        attacks: Who looked.
        unit: Where eps differs by coordinate, in what proportions; `values` are in units of the largest.
    """

    norm: Norm
    values: Numbers
    ids: npt.NDArray[np.int64]
    attacks: tuple[str, ...]
    unit: PerCoordinate | None = None

    def informed(self, ledger: Ledger) -> Distances:
        """Returns the distances, with the smaller ones that attacks in the same norm found in their place."""
        return dataclasses.replace(self, values=_nearer(self.values, self.ids, ledger))

    def accuracy(self, eps: Eps) -> Proportion:
        """Returns the share of samples whose minimal adversarial perturbation is larger than `eps`."""
        return proportion(int((self.values > parse_eps(eps)).sum()), len(self.values))

    def quantile(self, share: float = 0.5) -> float:
        """Returns the distance within which a `share` of all samples can be broken; infinity if it was not reached."""
        return float(np.quantile(self.values, share, method="higher"))


@in_batches
def security_curve(
    classifier: Classifier | nn.Module | Callable[[Tensor], Any],
    data: Any,
    attacks: Sequence[Attack | str] | Attack | str | Protocol,
    radii: Sequence[Eps],
    *,
    batch_size: int = 256,
    limit: int | None = None,
    first: int | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    folder: str | Path | None = None,
    finished: Sequence[str | Path] = (),
) -> Curve:
    """Returns robust accuracy at every radius (Biggio & Roli 2018, arXiv 1712.03141, section 3.3).

    Every attack runs in full, because what others left, which `close` and Square's `trial` go by, is not told.
    Radii are taken in ascending order; a sample that is broken is not attacked again, neither by a later attack nor at
    a larger radius. So the curve never rises. Processes of a torch process group share the work.

    Args:
        classifier: The model.
        data: As for `robustkit.evaluate`.
        attacks: Their own eps is replaced by every radius; one that differs by coordinate keeps its proportions.
        radii: In units of the input; in any order.
        batch_size: Rows the model sees at once.
        limit: Only so many samples, drawn with every class in proportion; see `robustkit.data.sampled`.
        first: Only the first so many samples instead.
        seed: Of all random numbers, and of the draw.
        progress: Called after every attack on a batch.
        folder: Write what is finished there, every few seconds and at the end. Processes share it.
        finished: Folders with finished parts to take over: `folder` to resume.

    Raises:
        ConfigurationError: If there is no radius, two are equal, or finished parts are those of another curve.
    """
    classifier = as_classifier(classifier)
    check_bounds("curve", data, classifier.bounds)
    batch_size, limit, seed = sizes("curve", batch_size, limit, seed)
    if progress is not None:
        function("curve", "progress", progress)
    check_folders("curve", folder, finished)
    protocol = as_protocol(attacks, partial(count_classes, "curve", classifier, data))
    every("curve", "radii", radii, str, int, float, Fraction)
    ordered = tuple(sorted(radii, key=parse_eps))
    if not ordered or len({parse_eps(eps) for eps in ordered}) < len(ordered):
        raise ConfigurationError(f"curve: expected one or more distinct radii, got {list(radii)}; correct them")
    for eps in ordered:
        refuse_grey_levels(eps, classifier.bounds)
    ladder = [
        (parse_eps(eps), dataclasses.replace(attack, eps=resized(attack.eps, eps)))
        for eps in ordered
        for attack in protocol.attacks
    ]
    here, found = ranks(), dict[int, tuple[Tensor, Tensor]]()
    dataset = sampled(join_classes(classifier, data), limit, first, seed)
    sizes_of = {"radii": ", ".join(map(str, ordered)), "seed": str(seed), "batch size": str(batch_size)}
    pieces = Pieces("curve", lambda: settings_of(classifier, protocol) | sizes_of, folder, finished, here)
    tell = progress if here.first else None
    with pieces.kept():
        for turn, batch in enumerate(batches(dataset, CHUNK * batch_size)):
            if turn % here.count == here.rank:
                found[turn] = batch.ids, _climbed(classifier, ladder, batch, turn, pieces, seed, batch_size, tell)
    ids, values = (torch.cat(column).numpy() for column in zip(*here.shared(found), strict=True))
    return Curve(
        norm=protocol.attacks[0].norm,
        radii=ordered,
        accuracy=_accuracy(values, ordered),
        broken_at=values,
        ids=ids,
        label=protocol.label,
        unit=unit_of(protocol.attacks[0].eps),
    )


@in_batches
def minimal_distances(
    classifier: Classifier | nn.Module | Callable[[Tensor], Any],
    data: Any,
    attacks: Sequence[Attack | str] | Attack | str,
    *,
    batch_size: int = 256,
    limit: int | None = None,
    first: int | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    finished: Sequence[str | Path] = (),
) -> Distances:
    """Returns for every sample the size of the minimal adversarial perturbation that any of the attacks finds.

    Args:
        classifier: The model.
        data: As for `robustkit.evaluate`.
        attacks: Minimal attacks (FMN, DDN, FAB) of one norm; with eps "inf" they search the whole input range.
        batch_size: Rows the model sees at once.
        limit: Only so many samples, drawn with every class in proportion; see `robustkit.data.sampled`.
        first: Only the first so many samples instead.
        seed: Of all random numbers, and of the draw.
        folder: Write what is finished there, every few seconds and at the end. Processes share it.
        finished: Folders with finished parts to take over: `folder` to resume.

    Raises:
        ConfigurationError: If an attack is not minimal, the norms differ, or finished parts are of other distances.
    """
    classifier = as_classifier(classifier)
    check_bounds("distances", data, classifier.bounds)
    batch_size, limit, seed = sizes("distances", batch_size, limit, seed)
    check_folders("distances", folder, finished)
    protocol = as_protocol(attacks)
    attacks = protocol.attacks
    strangers = [attack.label for attack in attacks if not attack.minimal]
    if strangers or len({(attack.norm, unit_of(attack.eps)) for attack in attacks}) != 1:
        raise ConfigurationError(
            "distances: expected minimal attacks of one norm, got "
            f"{', '.join(strangers) or 'several norms or kinds of eps'}; for example FMN(norm='L2', eps='inf')"
        )
    here, found = ranks(), dict[int, tuple[Tensor, Tensor]]()
    dataset = sampled(join_classes(classifier, data), limit, first, seed)
    sizes_of = {"seed": str(seed), "batch size": str(batch_size)}
    pieces = Pieces("distances", lambda: settings_of(classifier, protocol) | sizes_of, folder, finished, here)
    with pieces.kept():
        for turn, batch in enumerate(batches(dataset, CHUNK * batch_size)):
            if turn % here.count == here.rank:
                found[turn] = batch.ids, _approached(classifier, attacks, batch, turn, pieces, seed, batch_size)
    ids, values = (torch.cat(column).numpy() for column in zip(*here.shared(found), strict=True))
    return Distances(
        norm=attacks[0].norm,
        values=values,
        ids=ids,
        attacks=tuple(attack.label for attack in attacks),
        unit=unit_of(attacks[0].eps),
    )


def _climbed(
    classifier: Classifier,
    ladder: Sequence[tuple[float, Attack]],
    batch: Batch,
    turn: int,
    pieces: Pieces,
    seed: int,
    batch_size: int,
    progress: Callable[[Progress], None] | None,
) -> Tensor:
    """Returns the smallest radius at which every sample is broken, having noted it after every attack."""
    broken_at, done = _begun(classifier, batch, turn, pieces)
    for rung, (radius, attack) in enumerate(ladder[done:], done + 1):
        at = broken_at.isinf().nonzero().squeeze(1)
        if len(at):
            found = attack(classifier, batch.x[at], batch.y[at], ids=batch.ids[at], seed=seed, batch_size=batch_size)
            broken_at[at[found.success.cpu()]] = radius
        pieces.add(turn, {"values": broken_at.clone()}, {"done": rung})
        if progress:
            robust = int(broken_at.isinf().sum())
            progress(Progress(f"{attack.label} at {attack.eps}", 0, None, robust, len(batch)))
    return broken_at


def _approached(
    classifier: Classifier,
    attacks: Sequence[Attack],
    batch: Batch,
    turn: int,
    pieces: Pieces,
    seed: int,
    batch_size: int,
) -> Tensor:
    """Returns the smallest distance at which every sample is broken, having noted it after every attack."""
    nearest, done = _begun(classifier, batch, turn, pieces)
    at = (nearest > 0).nonzero().squeeze(1)
    for number, attack in enumerate(attacks[done:] if len(at) else (), done + 1):
        found = attack(classifier, batch.x[at], batch.y[at], ids=batch.ids[at], seed=seed, batch_size=batch_size)
        nearest[at] = torch.minimum(nearest[at], found.distance.where(found.success, torch.inf).cpu())
        pieces.add(turn, {"values": nearest.clone()}, {"done": number})
    return nearest


def _begun(classifier: Classifier, batch: Batch, turn: int, pieces: Pieces) -> tuple[Tensor, int]:
    """Returns what is known of every sample, at first 0 of those that are wrong, and after how many attacks."""
    if found := pieces.known(turn, batch):
        tensors, facts = found
        return tensors["values"], facts["done"]
    return torch.where(_right(classifier, batch), torch.inf, 0.0).double(), 0


def _accuracy(broken_at: Numbers, radii: Sequence[Eps]) -> tuple[Proportion, ...]:
    return tuple(proportion(int((broken_at > parse_eps(eps)).sum()), len(broken_at)) for eps in radii)


def _nearer(values: Numbers, ids: npt.NDArray[np.int64], ledger: Ledger) -> Numbers:
    """Returns the smaller of each distance and that in a ledger, where both are about the same samples."""
    order, rows = np.argsort(ids), np.argsort(ledger["id"])
    if not np.array_equal(ids[order], ledger["id"][rows]):
        return values
    nearer = values.copy()
    nearer[order] = np.minimum(values[order], ledger.closest[rows])
    return nearer


def _right(classifier: Classifier, batch: Batch) -> Tensor:
    """Returns which samples are right without an attack, on the CPU."""
    with classifier.frozen(), torch.no_grad():
        predicted = classifier.logits(classifier.accept(batch.x)).argmax(dim=1).cpu()
    return predicted == as_labels(batch.y, classifier.num_classes).cpu()
