"""What it takes to flip decisions on a table: adversarial records with every change undone that was not needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from robustkit.data.dataset import batches
from robustkit.data.schema import Schema
from robustkit.evaluation.outcome import Judge
from robustkit.evaluation.result import Evaluation
from robustkit.model.classifier import Classifier

MOST = 2_000  # samples that are looked at
HALVINGS = 6  # of the change of a number, on the way back to where it was


@dataclass(frozen=True)
class RecordChanges:
    """Samples that were broken, and for each a record near to it that breaks it, too.

    Attributes:
        ids: Of the samples (N,).
        x: Their clean records (N, F).
        records: Legal records within the threat (N, F) from which no feature can be put back by itself.
        predictions: What the model says of these (N,).
        changes: By how much each feature differs (N, features), as `Schema.changes` says.
        costs: What the changes of each record cost (N,).
    """

    ids: npt.NDArray[np.int64]
    x: Tensor
    records: Tensor
    predictions: npt.NDArray[np.int64]
    changes: npt.NDArray[np.float64]
    costs: npt.NDArray[np.float64]


def record_changes(evaluation: Evaluation, classifier: Classifier, batch_size: int = 1024) -> RecordChanges | None:
    """Returns which changes break the samples that were broken; None without a schema, points or such samples.

    Starting from the worst point of each sample, features are put back one after the other, the dearest change first,
    and numbers half of the way and so on, as long as the model stays wrong.

    Args:
        evaluation: With `evidence`, and data that can be read again.
        classifier: What was evaluated.
        batch_size: Records the model sees at once.
    """
    schema, ledger = evaluation.threat.schema, evaluation.ledger
    if schema is None or evaluation.evidence is None:
        return None
    broken = ledger["id"][ledger.right & ~ledger.robust][:MOST]
    clean = _rows(evaluation, {int(id) for id in broken}, batch_size)
    ids = np.array([id for id in broken.tolist() if id in clean], np.int64)
    if not len(ids):
        return None
    search = _Search(evaluation, classifier, schema, ids, torch.stack([clean[int(id)] for id in ids]), batch_size)
    with classifier.frozen(), torch.no_grad():
        records, logits = search.run(evaluation.evidence.worst(ids.tolist()))
    changes = schema.changes(search.x, records)
    return RecordChanges(ids, search.x, records, logits.argmax(1).cpu().numpy(), changes, schema.costs(changes))


def _rows(evaluation: Evaluation, wanted: set[int], batch_size: int) -> dict[int, Tensor]:
    """Returns the clean records of samples by their ids."""
    found: dict[int, Tensor] = {}
    for batch in batches(evaluation.dataset, batch_size):
        found |= {id: row for id, row in zip(batch.ids.tolist(), batch.x, strict=True) if id in wanted}
    return found


class _Search:
    """Puts features of adversarial records back."""

    def __init__(
        self,
        evaluation: Evaluation,
        classifier: Classifier,
        schema: Schema,
        ids: npt.NDArray[np.int64],
        x: Tensor,
        batch_size: int,
    ) -> None:
        self.x = classifier.accept(x).cpu()
        self.ids, self.schema, self.threat, self.device = (
            torch.from_numpy(ids),
            schema,
            evaluation.threat,
            classifier.device,
        )
        self.judge = Judge(classifier, evaluation.threat, evaluation.seed, batch_size)
        places = {int(id): place for place, id in enumerate(evaluation.ledger["id"])}
        self.y = torch.from_numpy(evaluation.ledger["label"][[places[int(id)] for id in ids]])

    def run(self, worst: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the records and what the model says of them (N, K)."""
        records = worst.to(self.x.dtype)
        dearest = (np.abs(self.schema.changes(self.x, records)) * self.schema.cost).argsort(axis=1)[:, ::-1]
        for order in dearest.T:
            records = self._kept(records, self._with(records, self.x, order))
        for _ in range(HALVINGS):
            for order in dearest.T:
                half = self.threat.snap(self.x.lerp(records, 0.5), self.x)
                records = self._kept(records, self._with(records, half, order))
        return records, self._ask(records)

    def _with(self, records: Tensor, other: Tensor, features: npt.NDArray[np.int64]) -> Tensor:
        """Returns the records with one feature each (N,) as it is in `other`."""
        found = records.clone()
        for number, one in enumerate(self.schema.features):
            rows = torch.from_numpy(np.flatnonzero(features == number))[:, None]
            found[rows, list(one.places)] = other[rows, list(one.places)]
        return found

    def _kept(self, records: Tensor, tried: Tensor) -> Tensor:
        """Returns what was `tried` where it still breaks the sample, else the records as they are."""
        at = (tried != records).any(dim=1).nonzero().flatten()
        if not len(at):
            return records
        inside = self.threat.contains(tried[at], self.x[at])
        still = self.judge.broken(self._ask(tried[at], at), self.y[at])
        at = at[inside & still]
        return records.index_copy(0, at, tried[at])

    def _ask(self, records: Tensor, at: Tensor | None = None) -> Tensor:
        ids = self.ids if at is None else self.ids[at]
        return self.judge(records.to(self.device), ids.to(self.device)).cpu()
