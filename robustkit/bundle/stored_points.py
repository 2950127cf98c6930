"""The stored points of some samples."""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.evaluation.evidence import StoredEvidence


class Chosen:
    """The stored points of some samples: `points` holds each once, `worst` and `of` say where; -1 is none."""

    def __init__(self, evidence: StoredEvidence, ids: Tensor) -> None:
        rows = torch.searchsorted(evidence.ids, ids)
        columns = torch.stack([evidence.worst[rows], *(column[rows] for column in evidence.of.values())])
        self.places = torch.unique(columns[columns >= 0])
        local = torch.where(columns >= 0, torch.searchsorted(self.places, columns), -1)
        self.points = evidence.points(self.places)
        self.worst, self.of = local[0], dict(zip(evidence.of, local[1:], strict=True))
        owner = torch.zeros(len(self.places), dtype=torch.int64, device="cpu")
        for column in local:
            owner[column[column >= 0]] = torch.arange(len(ids), device="cpu")[column >= 0]
        self.owner = owner
