"""Samples read by their places: from everything that can be indexed, without the others."""

from __future__ import annotations

import pickle
import tempfile

import numpy as np
import pytest
import torch
from nets import images, labels
from torch.utils.data import DataLoader, Subset, TensorDataset

from robustkit.base.errors import InvalidEvaluation
from robustkit.data.dataset import Dataset, text_id
from robustkit.data.places import locate, read_inputs
from robustkit.data.remapped_labels import relabelled
from robustkit.data.sampling import sampled
from robustkit.loading.npz_data import read_npz

X, Y = images(12, torch.float32), labels(12)


class Photos:
    """A data set that lists its labels and notes which samples are read."""

    def __init__(self, listed=Y, ids=None):
        self.targets, self.ids, self.seen = listed.tolist(), ids, []

    def __len__(self):
        return len(X)

    def __getitem__(self, place):
        self.seen.append(place)
        return (X[place], int(Y[place]), *(() if self.ids is None else (self.ids[place],)))


def located(source, **more):
    return locate(Dataset(name="data", source=source, **more))


@pytest.mark.parametrize(
    "source",
    [
        (X, Y),
        (X.numpy(), Y.numpy()),
        TensorDataset(X, Y),
        DataLoader(TensorDataset(X, Y), 5),
        Photos(),
        list(zip(X, Y.tolist(), strict=True)),
        Subset(Photos(), range(12)),
    ],
)
def test_what_can_be_indexed_is_read_from_where_it_lies(source):
    found = located(source)
    assert found.y.equal(Y)
    assert found.numbered().ids.tolist() == list(range(12))
    places = torch.tensor([7, 0, 9])
    assert read_inputs(found.source, found.places[places]).equal(X[places])
    fewer = located(source, first=5)
    assert fewer.y.equal(Y[:5])


def test_samples_keep_their_ids_through_choices_and_new_labels():
    chosen = sampled(Dataset(name="data", source=Photos()), limit=6)
    found = locate(relabelled(chosen, [3, None, 1, 0]))
    rows = found.ids
    assert set(Y[rows].tolist()) <= {0, 2, 3}
    assert found.y.tolist() == [{0: 3, 2: 1, 3: 0}[label] for label in Y[rows].tolist()]
    assert read_inputs(found.source, found.places).equal(X[rows])
    named = located(Subset(Photos(ids=[100 + i for i in range(12)]), [4, 2]))
    assert named.ids.tolist() == [104, 102]


def test_a_picture_is_read_only_where_its_label_is_not_listed():
    listed, other = Photos(), Photos(listed=(Y + 1) % 4)
    assert located(listed).y.equal(Y)
    assert len(listed.seen) < 12
    assert located(other).y.equal(Y)  # what comes with the sample counts


def test_bytes_of_a_file_stay_bytes(tmp_path):
    pixels = (X * 255).byte().numpy()
    np.savez(tmp_path / "data.npz", x=pixels, y=Y.numpy())
    found = locate(read_npz(tmp_path / "data.npz"))
    assert found.grey
    assert read_inputs(found.source, torch.tensor([3])).equal(torch.from_numpy(pixels[3:4]))


class Shards(torch.utils.data.IterableDataset):
    """Samples in order, as a WebDataset gives them."""

    def __init__(self, x):
        self.x = x

    def __iter__(self):
        return ((x, int(y), f"sample {place}") for place, (x, y) in enumerate(zip(self.x, Y, strict=True)))


@pytest.mark.parametrize("x", [X, X.mul(255).byte(), X.double()])
def test_what_can_only_be_read_in_order_is_read_from_a_copy(x, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for source in (Shards(x), DataLoader(Shards(x), 5), iter(Shards(x))):
        found = located(source)
        assert found.y.equal(Y)
        assert found.ids.tolist() == [text_id(f"sample {place}") for place in range(12)]
        there = pickle.loads(pickle.dumps(found.source))
        assert read_inputs(there, torch.tensor([9, 2])).equal(x[[9, 2]])
    del found, there
    assert not list(tmp_path.iterdir())


def test_samples_of_two_kinds_are_refused():
    with pytest.raises(InvalidEvaluation, match=r"one shape and dtype, got torch.float32 .* and torch.uint8"):
        read_inputs([(X[0], 1), (X[1].byte(), 1)], torch.tensor([0, 1]))
    with pytest.raises(InvalidEvaluation, match=r"torch.float32 \(1, 5, 6\) and torch.float32 \(1, 6, 6\); resize"):
        read_inputs([(X[0], 1), (X[1, :, 1:], 1)], torch.tensor([0, 1]))
    many = [(X[0], 1)] * 64 + [(X[0].double(), 1)]
    with pytest.raises(InvalidEvaluation, match=r"one shape and dtype, got torch.float32 .* and torch.float64"):
        located(iter(many))
