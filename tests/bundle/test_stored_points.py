"""The stored points of some samples, each once, and who owns them."""

from __future__ import annotations

import torch

from robustkit.bundle.stored_points import Chosen
from robustkit.evaluation.evidence import Evidence, StoredEvidence


def test_points_come_once_with_their_owners_whatever_the_order_of_the_samples(tmp_path):
    kept = Evidence(["a", "b"])
    own, worst = torch.arange(6.0).view(3, 2), torch.arange(6.0).view(3, 2) + 10
    kept.add("a", torch.tensor([7, 9]), own[1:])
    kept.settle(torch.tensor([3, 7, 9]), torch.tensor([-1, 1, 0]), torch.stack([worst[0], worst[1], own[2]]))
    kept.write(tmp_path / "f")
    chosen = Chosen(StoredEvidence(tmp_path / "f", ["a", "b"]), torch.tensor([9, 7]))
    assert len(chosen.points) == len(chosen.places) == 3  # sample 9 has one point in two columns
    assert torch.equal(chosen.points[chosen.worst], torch.stack([own[2], worst[1]]))
    assert torch.equal(chosen.points[chosen.of["a"]], torch.stack([own[2], own[1]]))
    assert chosen.of["b"][0] == -1
    assert torch.equal(chosen.points[chosen.of["b"][1]], worst[1])
    owners = {tuple(point.tolist()): int(row) for point, row in zip(chosen.points, chosen.owner, strict=True)}
    assert owners == {(4.0, 5.0): 0, (2.0, 3.0): 1, (12.0, 13.0): 1}
