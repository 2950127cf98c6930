"""Data that must give the same samples every time they are read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from nets import digits, digits_cnn
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torch.utils.data import (
    Dataset as MapStyle,
)
from torchvision.transforms import RandomHorizontalFlip

import robustkit
from robustkit.attacks import FGSM
from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import Dataset, batches
from robustkit.data.repeatability import steady

X = torch.rand((50, 1, 4, 4), generator=torch.Generator().manual_seed(0))
Y = torch.arange(50) % 3
WHOLE = TensorDataset(X, Y)


class Flipped(MapStyle):
    """A test set that somebody gave the training transform."""

    def __init__(self) -> None:
        self.flip = RandomHorizontalFlip()

    def __len__(self) -> int:
        return 50

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return self.flip(X[place]), int(Y[place])


class Stream(IterableDataset):
    """An iterable data set in random order."""

    def __iter__(self) -> Iterator[Any]:
        return ((X[i], int(Y[i])) for i in torch.randperm(50).tolist())


class Once:
    """Looks as if it could be read again and cannot."""

    def __init__(self) -> None:
        self.rest = zip(X.split(5), Y.split(5), strict=True)

    def __iter__(self) -> Iterator[Any]:
        return self.rest


def of(source: Any) -> Dataset:
    return Dataset(name="data", source=source)


def read(dataset: Dataset) -> Any:
    return next(batches(dataset, 100))


@pytest.mark.parametrize(
    ("make", "note"),
    [
        (lambda: DataLoader(WHOLE, batch_size=7, shuffle=True), "the loader shuffles"),
        (lambda: DataLoader(WHOLE, sampler=RandomSampler(WHOLE), batch_size=7, drop_last=True), "the loader shuffles"),
        (lambda: DataLoader(WHOLE, shuffle=True, batch_size=None), "the loader shuffles"),
        (lambda: DataLoader(WHOLE, batch_size=7, drop_last=True), "the loader drops its last batch"),
    ],
)
def test_a_loader_that_shuffles_or_drops_is_read_in_the_order_of_its_data_set_to_the_end(make: Any, note: str) -> None:
    data = steady(of(make()))
    assert torch.equal(read(data).x, X)
    assert read(data).ids.tolist() == list(range(50))
    assert note in data.notes[0]


def test_a_loader_of_a_random_subset_is_read_in_the_order_of_its_indices() -> None:
    data = steady(of(DataLoader(WHOLE, batch_size=7, sampler=SubsetRandomSampler([9, 4, 30]))))
    assert torch.equal(read(data).x, X[[9, 4, 30]])


@pytest.mark.parametrize(
    "make",
    [
        Flipped,
        lambda: DataLoader(Flipped(), batch_size=10),
        lambda: DataLoader(Flipped(), batch_size=10, shuffle=True),
        lambda: DataLoader(Stream(), batch_size=10),
        lambda: DataLoader(WHOLE, batch_size=10, sampler=WeightedRandomSampler([1.0] * 50, 50)),
        lambda: DataLoader(WHOLE, batch_size=10, collate_fn=lambda items: next(iter(DataLoader(items, 10, True)))),
        Once,
    ],
    ids=["flips", "loader of flips", "shuffled flips", "stream", "weighted", "collates", "once"],
)
def test_what_gives_other_samples_the_second_time_is_refused_with_the_fix(make: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"the same samples every time.*without random steps, shuffle=False"):
        steady(of(make()))


def test_data_that_stay_the_same_are_left_as_they_are() -> None:
    nothing = [(X[:9] * float("nan"), Y[:9])]
    for source in ((X, Y), WHOLE, DataLoader(WHOLE, 7), [(X[:9], Y[:9]), (X[9:], Y[9:])], iter([(X, Y)]), nothing):
        data = of(source)
        assert steady(data) is data


def test_no_more_than_a_batch_is_read_twice() -> None:
    told = itertools.count()

    class Counting(Flipped):
        def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
            next(told)
            return X[place], int(Y[place])

    steady(of(Counting()))
    assert next(told) <= 2 * 33


def test_two_evaluations_with_a_loader_that_shuffles_agree() -> None:
    x, y = digits(40)
    runs = [
        robustkit.evaluate(digits_cnn(), DataLoader(TensorDataset(x, y), 8, shuffle=True), [FGSM(eps=0.1)])
        for _ in range(2)
    ]
    assert runs[0].ledger.to_csv() == runs[1].ledger.to_csv()
    assert runs[0].ledger["label"].tolist() == y.tolist()
    assert "the loader shuffles" in runs[0].dataset.notes[0]
