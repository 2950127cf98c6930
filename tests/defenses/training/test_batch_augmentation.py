"""From a batch to the rows that a process trains on: augmented in whole or in part, with dropout seeded."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from objective_rows import EVERY
from tiny_training import data, net

from robustkit.base.errors import ConfigurationError
from robustkit.base.processes import Ranks
from robustkit.defenses.base import Minibatch
from robustkit.defenses.training import Recipe
from robustkit.defenses.training.batch_augmentation import BatchAugmentation
from robustkit.defenses.training.training_mode import seed_dropout
from robustkit.model.classifier import Classifier


class Half:
    """Takes the first half of every batch."""

    def __init__(self, rank=0):
        self.ranks = Ranks(rank, 2)

    def own_rows(self, batch):
        n = len(batch.ids) // 2
        return dataclasses.replace(batch, x=batch.x[:n], y=batch.y[:n], ids=batch.ids[:n])


def run(augment=None, objective="standard", rank=0, **position):
    classifier = Classifier(net())
    parts = {"recipe": Recipe(augment=augment), "objective": EVERY[objective], "classifier": classifier}
    return SimpleNamespace(**parts, workers=Half(rank), **{"epoch": 1, "batch": 0, **position})


def batch():
    x, y = data(8)
    return Minibatch(x, y, torch.arange(8))


def sizes_seen(augment, with_function):
    seen = []

    def look(given):
        seen.append(len(given.ids))
        return given

    result = BatchAugmentation(run(augment), 4, look if with_function else None)(batch())
    return seen, len(result.ids)


def test_a_function_of_the_caller_sees_the_whole_batch_and_the_process_trains_on_its_rows():
    assert sizes_seen("flip", with_function=True) == ([8], 4)
    assert sizes_seen(None, with_function=True) == ([8], 4)
    assert sizes_seen(None, with_function=False) == ([], 4)


def test_what_mixes_samples_sees_the_whole_batch_and_what_does_not_only_the_own_rows(monkeypatch):
    for text, mixes, rows in (("mixup", True, 8), ("flip", False, 4)):
        seen, augment = [], BatchAugmentation(run(text), 4, None)
        assert augment.whole == mixes
        planned = augment.planned
        monkeypatch.setattr(augment, "planned", lambda b, f=planned, s=seen: (s.append(len(b.ids)), f(b))[1])
        assert len(augment(batch()).ids) == 4
        assert seen == [rows]


def test_the_augmentation_of_the_recipe_comes_before_the_function():
    flipped = []
    augment = BatchAugmentation(run("noise:sigma=0.5"), 4, lambda b: (flipped.append(b.x), b)[1])
    augment(batch())
    assert not flipped[0].equal(batch().x)


def dropout_numbers(**where):
    seen = run(**where)
    with torch.random.fork_rng(devices=[]):
        BatchAugmentation(seen, 4, None)(batch())
        return torch.rand(5).tolist()


def test_dropout_follows_seed_epoch_batch_and_process():
    same, again = dropout_numbers(), dropout_numbers()
    others = [dropout_numbers(epoch=2), dropout_numbers(batch=1), dropout_numbers(rank=1)]
    assert same == again
    with torch.random.fork_rng(devices=[]):
        seed_dropout(0, "layers 1 0", torch.device("cpu"))
        assert torch.rand(5).tolist() == same  # of the first process, or of one alone
    assert same not in others
    assert len({tuple(numbers) for numbers in others}) == 3


def test_labels_are_not_mixed_for_an_objective_that_needs_one_class_per_sample():
    with pytest.raises(ConfigurationError, match=r"keeps labels whole, since mart .* got 'flip\+cutmix'"):
        BatchAugmentation(run("flip+cutmix", objective="mart"), 4, None)
    assert BatchAugmentation(run("flip", objective="mart"), 4, None).planned is not None
