"""The training samples: split, order, and what is refused."""

from __future__ import annotations

import pytest
import torch
from tiny_training import data, net

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.defenses import Standard, fit
from robustkit.defenses.training import Recipe
from robustkit.defenses.training.samples import Samples, read_samples, sample_ids
from robustkit.model.classifier import Classifier


def test_order_and_split_follow_sample_ids_not_positions():
    x, y = data()
    ids = torch.arange(30) * 7
    turn = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    straight, turned = Samples(x, y, ids), Samples(x[turn], y[turn], ids[turn])
    (train, held), (other, other_held) = straight.split(0.2, 5), turned.split(0.2, 5)
    assert len(held) == 6
    assert set(held.ids.tolist()) == set(other_held.ids.tolist())
    assert not set(held.ids.tolist()) & set(train.ids.tolist())
    for one, two in zip(train.order(5, 3, 8), other.order(5, 3, 8), strict=True):
        assert train.ids[one].equal(other.ids[two])
    orders = [torch.cat(train.order(seed, epoch, 8)).tolist() for seed, epoch in ((5, 3), (5, 4), (6, 3))]
    assert all(sorted(order) == list(range(24)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_a_last_batch_of_one_sample_is_left_out():
    samples = Samples(*data(17), torch.arange(17))
    assert [len(part) for part in samples.order(0, 1, 8)] == [8, 8]
    assert [len(part) for part in samples.take(torch.arange(1)).order(0, 1, 8)] == [1]


def test_wrong_data_are_refused():
    x, y = data()
    model = Classifier(net())
    with pytest.raises(InvalidEvaluation, match="grey levels"):
        fit(model, x * 255, y, Standard())
    with pytest.raises(InvalidEvaluation, match=r"expected 0..3 for 4 classes, got 1..4"):
        fit(model, x, y + 1, Standard())
    with pytest.raises(ConfigurationError, match="30 different ids from 0, one per sample, got 30, 1 of them"):
        fit(model, x, y, Standard(), ids=torch.zeros(30, dtype=torch.int64))
    with pytest.raises(ConfigurationError, match="parameters to train, got none"):
        fit(Classifier(net().requires_grad_(False)), x, y, Standard())


@pytest.mark.parametrize(
    ("ids", "message"),
    [([0, 1, 1], "got 3, 2 of them different"), ([0, 1], "got 2, 2 of"), ([0, 1, -1], "3 different ids from 0")],
)
def test_ids_are_different_whole_numbers_one_per_sample(ids, message):
    with pytest.raises(ConfigurationError, match=message):
        sample_ids(torch.tensor(ids), 3)
    assert sample_ids(None, 3).tolist() == [0, 1, 2]
    assert sample_ids(torch.tensor([5, 0, 9], dtype=torch.int32), 3).tolist() == [5, 0, 9]


def test_at_least_one_sample_is_left_to_train_on():
    train, held = Samples(*data(1), torch.arange(1)).split(0.5, 0)
    assert (len(train), len(held)) == (1, 0)
    train, held = Samples(*data(3), torch.arange(3)).split(0.5, 0)
    assert (len(train), len(held)) == (1, 2)
    train, held = Samples(*data(3), torch.arange(3)).split(1.0, 0)
    assert (len(train), len(held)) == (1, 2)


def test_the_hash_covers_ids_labels_and_inputs_and_not_their_order_in_memory():
    x, y = data()
    ids = torch.arange(30)
    first = Samples(x, y, ids).sha256()
    assert Samples(x.contiguous(memory_format=torch.channels_last), y, ids).sha256() == first
    assert len({first, Samples(x * 0.5, y, ids).sha256(), Samples(x, 3 - y, ids).sha256(),
                Samples(x, y, ids + 1).sha256()}) == 4  # fmt: skip


def test_a_sample_has_every_class_and_the_shares_are_what_they_say():
    samples = Samples(torch.zeros(4, 1), torch.tensor([0, 2, 2, 2]), torch.arange(4))
    assert samples.shares() == [0.25, 0.0, 0.75]
    assert samples.sample(2, seed=0).y.tolist() == [0, 2]
    assert samples.sample(9, seed=0) is samples


def test_what_is_read_lies_as_it_is_trained_on():
    x, y = data()
    classifier = Classifier(net())
    samples, classes = read_samples(classifier, x, y, None, Recipe())
    assert classes == 4
    assert samples.x[:3].is_contiguous(memory_format=torch.channels_last)
    assert read_samples(classifier, x, y, None, Recipe(channels_last=False))[0].x[:3].is_contiguous()
