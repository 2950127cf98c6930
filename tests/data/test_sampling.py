"""Random samples with every class in proportion, the first samples, and random order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset, default_collate

from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import Dataset, batches, count_samples
from robustkit.data.sampling import codes, narrowed, sampled, stratified

Y = torch.arange(60) // 20  # sorted by class, as a folder is
X = torch.arange(60, dtype=torch.float32)[:, None] / 60


class Undecoded:
    """As torchvision's folders: labels are listed in `targets`, and reading a sample costs."""

    def __init__(self, readable: bool = False) -> None:
        self.targets, self.readable, self.read = Y.tolist(), readable, 0

    def __len__(self) -> int:
        return 60

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        self.read += 1
        return X[place], self.targets[place]


class Plain:
    """A map-style data set that lists no labels."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return X[place], int(Y[place])


SOURCES = {
    "tensors": lambda: (X, Y),
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "a list of labels": lambda: (X, Y.tolist()),
    "string labels": lambda: TensorStrings(),
    "one-hot labels": lambda: (X, torch.nn.functional.one_hot(Y)),
    "column labels": lambda: (X, Y[:, None]),
    "TensorDataset": lambda: TensorDataset(X, Y),
    "targets": Undecoded,
    "map-style": Plain,
    "list of samples": lambda: [(x, int(y)) for x, y in zip(X, Y, strict=True)],
    "Subset": lambda: Subset(Plain(), range(60)),
    "parts": lambda: ConcatDataset([TensorDataset(X[:7], Y[:7]), TensorDataset(X[7:], Y[7:])]),
    "loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=7),
}


class TensorStrings(Plain):
    def __init__(self) -> None:
        self.labels = [f"class {int(y)}" for y in Y]


def read(dataset: Dataset) -> Any:
    return next(batches(dataset, 100))


def of(source: Any) -> Dataset:
    return Dataset(name="data", source=source)


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_with_the_same_labels_gives_the_same_sample_with_its_own_ids(name: str) -> None:
    chosen = sampled(of(SOURCES[name]()), limit=12, seed=5)
    found = read(chosen)
    assert found.ids.tolist() == read(sampled(of((X, Y)), limit=12, seed=5)).ids.tolist()
    assert torch.equal(found.x, X[found.ids])
    assert torch.equal(found.y, Y[found.ids])
    assert found.y.bincount().tolist() == [4, 4, 4]
    assert chosen.selection == "12 of 60 samples, stratified by class (seed 5)"
    assert count_samples(chosen) == 12


def test_another_seed_gives_other_samples_and_the_same_seed_the_same() -> None:
    ids = [read(sampled(of((X, Y)), limit=12, seed=seed)).ids.tolist() for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]


def test_labels_that_are_listed_are_used_without_reading_a_sample() -> None:
    source = Undecoded()
    chosen = sampled(of(source), limit=6)
    assert source.read == 0
    read(chosen)
    assert source.read == 6


def test_samples_keep_the_ids_that_they_bring_along() -> None:
    ids = [f"patient {i}" for i in range(60)]
    for source in ((X, Y, ids), [(x, int(y), i) for x, y, i in zip(X, Y, ids, strict=True)]):
        found = read(sampled(of(source), limit=9))
        assert torch.equal(found.x, X[[int(name.split()[1]) for name in found.names]])


def test_no_limit_or_more_than_there_are_is_all_samples() -> None:
    for arguments in ({}, {"limit": 60}, {"limit": 99}, {"first": 60}):
        chosen = sampled(of((X, Y)), **arguments)
        assert len(read(chosen)) == 60
        assert chosen.selection is None


def test_the_first_samples_are_taken_where_they_are_asked_for() -> None:
    chosen = sampled(of(SOURCES["targets"]()), first=8)
    assert read(chosen).ids.tolist() == list(range(8))
    assert chosen.selection == "the first 8 samples"
    assert count_samples(chosen) == 8


@pytest.mark.parametrize(
    "make",
    [
        lambda: iter([(X, Y)]),
        lambda: [(X[:50], Y[:50]), (X[50:], Y[50:])],
        lambda: DataLoader(TensorDataset(X, Y), batch_size=7, collate_fn=lambda items: default_collate(items)),
    ],
    ids=["iterator", "list of batches", "loader that collates"],
)
def test_what_cannot_be_indexed_gives_the_first_samples_and_says_so(make: Any) -> None:
    chosen = sampled(of(make()), limit=8)
    assert read(chosen).ids.tolist() == list(range(8))
    assert chosen.selection == "the first 8 samples, as these data cannot be indexed for a random sample"


def test_a_sample_of_a_sample_has_the_ids_of_the_whole() -> None:
    found = read(sampled(sampled(of((X, Y)), limit=30), limit=6))
    assert torch.equal(found.x, X[found.ids])
    first = read(sampled(sampled(of(Plain()), limit=30), first=6))
    assert torch.equal(first.x, X[first.ids])
    assert len(first) == 6
    assert set(read(sampled(sampled(of((X, Y)), first=25), limit=6)).ids.tolist()) <= set(range(25))


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "5", float("nan")])
@pytest.mark.parametrize("name", ["limit", "first"])
def test_a_number_of_samples_is_whole_and_at_least_1(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"expected {name} to be an integer >= 1, got"):
        sampled(of((X, Y)), **{name: value})


def test_limit_and_first_together_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"got both \(5, 6\); give one"):
        sampled(of((X, Y)), limit=5, first=6)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_class_has_its_share_up_to_one_sample_and_one_at_least(sizes: list[int], share: float, seed: int) -> None:
    classes = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    count = max(1, round(share * len(classes)))
    places = stratified(classes, count, seed)
    assert len(places) == count
    assert (np.diff(places) > 0).all()
    got = np.bincount(classes[places], minlength=len(sizes))
    exact = count * np.array(sizes) / len(classes)
    assert (got <= sizes).all()
    if count >= len(sizes):
        assert (got >= 1).all()
    if (exact >= 1).all() or count < len(sizes):
        assert (np.abs(got - exact) < 1 + 1e-9).all()


def test_with_too_few_samples_for_every_class_the_classes_are_drawn() -> None:
    classes = np.arange(50)
    found = {tuple(stratified(classes, 3, seed)) for seed in range(5)}
    assert len(found) == 5


def test_a_larger_sample_mostly_contains_a_smaller_one() -> None:
    classes = np.repeat(np.arange(4), 50)
    small, large = (set(stratified(classes, count, 7)) for count in (40, 80))
    assert small <= large


def test_labels_are_numbered_in_the_order_in_which_they_come() -> None:
    for labels in (["b", "a", "b"], np.array(["b", "a", "b"]), torch.tensor([7, 2, 7]), np.eye(2)[[1, 0, 1]]):
        assert codes(labels).tolist() == [0, 1, 0]


def test_only_the_samples_with_given_ids_are_read_where_ids_are_places() -> None:
    source = Undecoded()
    found = read(narrowed(of(source), {4, 17}))
    assert found.ids.tolist() == [4, 17]
    assert source.read <= 3
    own = (X, Y, torch.arange(60).flip(0))
    assert len(read(narrowed(of(own), {4, 17}))) == 60
