"""The hash over all data that samples were chosen from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from nets import digits
from PIL import Image
from torch.utils.data import TensorDataset

from robustkit.data.dataset import Dataset
from robustkit.data.remapped_labels import relabelled
from robustkit.data.sampling import sampled, shuffled
from robustkit.data.whole import hash_whole
from robustkit.loading.data import load_data

X, Y = digits(20)


def of(*source):
    return Dataset(name="mine", source=source)


def test_it_depends_on_inputs_labels_and_ids_of_all_samples_and_on_nothing_else():
    size, digest, kind = hash_whole(of(X, Y))
    assert (size, kind) == (20, "inputs")
    assert hash_whole(Dataset(name="other", source=TensorDataset(X, Y)))[1] == digest
    last = X.clone()
    last[19, 0, 0, 0] += 0.5
    others = [of(last, Y), of(X, Y.flip(0)), of(X, Y, torch.arange(20) + 1), of(X[:19], Y[:19])]
    assert len({digest, *(hash_whole(other)[1] for other in others)}) == 5


@pytest.mark.parametrize("choose", [lambda data: sampled(data, limit=9), lambda data: sampled(data, first=9)])
def test_what_was_chosen_knows_what_it_was_chosen_from(choose):
    data = of(X, Y)
    assert data.whole is None
    assert choose(data).whole is data
    assert shuffled(choose(data), seed=0).whole is data
    assert shuffled(data, seed=0).whole is data


def test_pictures_are_hashed_as_they_lie_there(tmp_path):
    for number in range(12):
        picture = tmp_path / "cdr"[number % 3] / f"{number}.png"
        picture.parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2), number).save(picture)
    data = load_data(str(tmp_path))
    size, digest, kind = hash_whole(data)
    assert (size, kind) == (12, "files")
    swapped = relabelled(data, [1, 0, 2])
    assert hash_whole(swapped)[2] == "files"
    assert hash_whole(swapped)[1] != digest
    last = Path(data.source.samples[11][0])
    last.write_bytes(last.read_bytes() + b"more")
    assert hash_whole(data)[1] != digest


def test_data_that_cannot_all_be_read_have_none():
    assert hash_whole(of(X, Y, [0] * 20)) is None  # equal ids
    assert hash_whole(Dataset(name="mine", source=iter([(X, Y)]))) is None


def test_very_many_samples_that_have_to_be_decoded_have_none(monkeypatch):
    monkeypatch.setattr("robustkit.data.whole.MOST", 19)
    assert hash_whole(Dataset(name="mine", source=TensorDataset(X, Y))) is None
    assert hash_whole(of(X, Y))
