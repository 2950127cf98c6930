"""The stored points of some samples, each once, and who owns them."""

from __future__ import annotations

import torch

from robustkit.bundle.stored_points import Chosen
from robustkit.evaluation.evidence import Evidence, StoredEvidence


def test_points_come_once_with_their_owners_whatever_the_order_of_the_samples(tmp_path):
    kept = Evidence(["a", "b"])
    points = torch.arange(6.0).view(3, 2)
    kept.settle(torch.tensor([3, 7, 9]), torch.tensor([-1, -1, -1]), points)
    kept.write(tmp_path / "f")
    stored = StoredEvidence(tmp_path / "f", ["a", "b"])
    chosen = Chosen(stored, torch.tensor([9, 3]))
    assert torch.equal(chosen.points[chosen.worst], points[[2, 0]])
    assert len(chosen.points) == 2
    assert chosen.owner[chosen.worst].tolist() == [0, 1]
    assert {name: column.tolist() for name, column in chosen.of.items()} == {"a": [-1, -1], "b": [-1, -1]}
