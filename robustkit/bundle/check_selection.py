"""Whether the samples of an audit are those it says: all, the first, or the drawn ones of the data it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from robustkit.bundle.failure_messages import Mismatch
from robustkit.data.dataset import Dataset
from robustkit.data.sampling import places_only, sampled, shuffled
from robustkit.data.whole import hash_whole
from robustkit.evaluation.result import Evaluation
from robustkit.loading.data import is_named
from robustkit.report.document.data import Whole
from robustkit.report.document.report import Audit

_FIRST = re.compile(r"the first (\d+) samples(, as .*)?")
_DRAWN = re.compile(r"(\d+) of (\d+) samples, stratified by class \(seed (\d+)\)")


class Unknown(Exception):
    """The data at hand cannot tell; its text says why."""


def check_selection(
    stated: Audit, evaluation: Evaluation, data: Dataset, seen: list[int], where: str
) -> list[Mismatch]:
    """Returns how the samples in the ledger are not those that the audit says were chosen from the data.

    Args:
        stated: The audit.
        evaluation: Restored from its ledger.
        data: The whole data, as they were given.
        seen: Ids in the order they came, of data that cannot be indexed.
        where: The audit's place.

    Raises:
        Unknown: If the data cannot tell.
    """
    had, claim = set(evaluation.ledger["id"].tolist()), f"{where}.data.selection"
    said = evaluation.dataset.selection
    said = None if said == data.selection else said  # those given are the selection itself
    drawn = _DRAWN.fullmatch(said or "")
    if said is not None and drawn is None and _FIRST.fullmatch(said) is None:
        raise Unknown(f"'{said}' is no selection that robustkit makes")
    whole = places_only(data, labelled=drawn is not None)
    if whole is None:
        if drawn:
            raise Unknown("the data given cannot be indexed, so that no sample can be drawn from them")
        return _compared(had, seen, claim, stated)
    chosen, size = whole, len(whole.source[0])
    if drawn:
        count, of, seed = map(int, drawn.groups())
        if of != size:
            return [Mismatch(claim, f"samples of the {size:,} that the data hold", f"of {of:,}")]
        chosen = sampled(whole, limit=count, seed=seed)
    elif said is not None:
        # Of a run that took all it was allowed to, the report has the number of samples there were.
        chosen = sampled(whole, first=int(re.findall(r"\d+", said)[0]))
    ids = [int(id) for id in chosen.source[2]][: chosen.first]
    if evaluation.early:
        if evaluation.planned != len(ids):
            return [Mismatch(f"{where}.method.planned", f"{len(ids)}", str(evaluation.planned))]
        mixed = chosen if chosen.first is None else Dataset(name="", source=tuple(c[: len(ids)] for c in chosen.source))
        ids = [int(id) for id in shuffled(mixed, evaluation.seed).source[2]][: len(had)]
    return _compared(had, ids, claim, stated)


def _compared(had: set[int], expected: list[int], claim: str, stated: Audit) -> list[Mismatch]:
    left_out = [id for id in expected if id not in had]
    strange = had - set(expected)
    if left_out or strange:
        got = f"others: sample {left_out[0]} is not there" if left_out else f"others: sample {min(strange)} is there"
        return [Mismatch(claim, stated.data.selection, got, more=len(left_out or strange) - 1)]
    return []


def check_whole(claim: Whole, data: Dataset, where: str) -> list[Mismatch]:
    """Returns how the data at hand are not those that the samples of an audit were chosen from.

    All of them are read, however few were audited.

    Args:
        claim: What the audit says of them.
        data: The data, with the labels of the audit.
        where: The audit's place.

    Raises:
        Unknown: If the data cannot tell.
    """
    found = hash_whole(data)
    if found is None:
        raise Unknown("not all of the data given can be read again")
    here = Whole(*found)
    if here.of != claim.of:
        raise Unknown(f"the report has a hash of {claim.of}, the data given of {here.of}")
    expected, got = (f"{one.n:,} samples with SHA-256 {one.sha256[:12]}..." for one in (here, claim))
    return [] if here == claim else [Mismatch(f"{where}.data.whole", expected, got)]


def check_source(stated: Audit, data: Dataset, where: str) -> Iterator[Mismatch]:
    """Yields how the name and the split that an audit gives its data differ from those of the data at hand.

    Raises:
        Unknown: If both are names that anybody may give.
    """
    if not (is_named(data.name) or is_named(stated.data.name)):
        if Path(stated.data.name).name != Path(data.name).name:
            raise Unknown(f"the report names them '{stated.data.name}', those given are '{data.name}'")
        if stated.data.split is not None and data.split is None:
            raise Unknown(f"the report names the split '{stated.data.split}', those given name none")
    elif stated.data.name != data.name:
        yield Mismatch(f"{where}.data.name", str(data.name), str(stated.data.name))
    if stated.data.split not in (None, data.split):
        yield Mismatch(f"{where}.data.split", str(data.split), str(stated.data.split))
