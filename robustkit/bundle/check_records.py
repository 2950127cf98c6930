"""The cheapest changes of a table that a report shows: legal records, with what they cost and what the model says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from robustkit.bundle.check_predictions import Answers
from robustkit.bundle.failure_messages import Mismatch, same_number
from robustkit.evaluation.result import Evaluation
from robustkit.report.document.report import Audit
from robustkit.report.document.table import Flip, cells


def flips(stated: Audit) -> dict[int, Flip]:
    """Returns the changes that an audit shows, by the ids of their samples."""
    changes = stated.table.changes if stated.table else None
    return {flip.id: flip for flip in changes.cheapest} if changes else {}


def check_records(
    stated: Audit, evaluation: Evaluation, picked: Sequence[tuple[Tensor, int, int]], answers: Answers | None
) -> Iterator[Mismatch]:
    """Yields what is false about them.

    Args:
        stated: The audit as the report has it.
        evaluation: Restored from its ledger.
        picked: Clean record, label and id of the samples.
        answers: Asks the model, where there is one.
    """
    schema, names = evaluation.threat.schema, stated.subject.class_names
    shown = flips(stated)
    for x, y, id in picked:
        if schema is None or id not in shown:
            continue
        flip, where = shown[id], f"report.json: table.changes of sample {id}"
        if len(flip.record) != schema.width:
            yield Mismatch(where, f"a record of {schema.width} values", str(len(flip.record)))
            continue
        clean, record = x[None].float(), torch.tensor([flip.record], device="cpu")
        if not bool(evaluation.threat.contains(record, clean).all()):
            yield Mismatch(where, "a legal record within the threat", "another")
        if cells(schema, clean[0].tolist(), record[0].tolist()) != flip.cells:
            yield Mismatch(where, "the values in which the records differ", "others")
        cost = float(schema.costs(schema.changes(clean, record))[0])
        if not same_number(cost, flip.cost):
            yield Mismatch(f"{where}: cost", f"{cost:.6g}", f"{flip.cost:.6g}")
        if flip.before != names[y]:
            yield Mismatch(f"{where}: before", names[y], flip.before)
        if answers is not None:
            asked = record.to(answers.classifier.device, answers.classifier.dtype)
            said = names[int(answers.judge(asked, torch.tensor([id], device=asked.device)).argmax())]
            if said != flip.after:
                yield Mismatch(f"{where}: after", said, flip.after)
