"""Stopping early: on an interval that allows for it, or on a time limit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn
from torch.utils.data import DataLoader, TensorDataset, default_collate

import robustkit
from robustkit.attacks import FGSM, Noise
from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import Dataset, batches
from robustkit.data.sampling import shuffled
from robustkit.evaluation.early_stopping import EarlyStopping
from robustkit.maths.intervals import confidence_sequence

EPS = 0.1


class TestEarlyStop:
    def test_it_stops_as_soon_as_the_interval_is_narrow_enough(self):
        found = robustkit.evaluate(digits_cnn(), digits(297), [FGSM(eps=EPS)], until=0.12)
        low, high = found.anytime_interval
        assert (high - low) / 2 <= 0.12
        assert found.robust_accuracy.n < 297 == found.planned
        assert "within 12 points" in found.stopped
        assert confidence_sequence(found.robust_accuracy.k, found.robust_accuracy.n) == found.anytime_interval

    def test_samples_come_in_random_order_with_their_own_ids(self):
        x, y = digits(100)
        found = robustkit.evaluate(digits_cnn(), (x, y), [Noise(eps=EPS)], until=0.15)
        ids = found.ledger["id"]
        assert len(ids) < 100
        assert not np.array_equal(ids, np.sort(ids))
        np.testing.assert_array_equal(found.ledger["label"], y.numpy()[ids])
        whole = robustkit.evaluate(digits_cnn(), (x, y), [Noise(eps=EPS)])
        np.testing.assert_array_equal(found.ledger["noise/margin"], whole.ledger["noise/margin"][ids])

    def test_without_reason_to_stop_every_sample_is_seen(self):
        found = robustkit.evaluate(digits_cnn(), digits(50), [FGSM(eps=EPS)], until=0.001)
        assert found.robust_accuracy.n == 50
        assert found.stopped is None

    def test_the_budget_is_kept_by_taking_only_what_fits(self, monkeypatch):
        now = iter(range(10_000))
        monkeypatch.setattr("time.perf_counter", lambda: next(now))
        stopping = EarlyStopping(budget=100)
        assert stopping.next(0, 0, first=16, most=64) == 16
        stopping._start = next(now) - 10  # ten seconds for the first 16: at most 128 more in the 80 or so left
        assert 0 < stopping.next(8, 16, first=16, most=64) <= 16
        stopping._start = next(now) - 98
        assert stopping.next(8, 64, first=16, most=64) == 0 or stopping.reason is None
        stopping._start = next(now) - 200
        assert stopping.next(8, 64, first=16, most=64) == 0
        assert stopping.reason == "the time limit of 100 s was reached"

    @pytest.mark.parametrize(
        ("arguments", "text"), [({"until": 0.7}, "half-width"), ({"budget": 0}, "time limit in seconds, in .*, got 0")]
    )
    def test_senseless_limits_are_refused(self, arguments, text):
        with pytest.raises(ConfigurationError, match=text):
            robustkit.evaluate(digits_cnn(), digits(20), [FGSM(eps=EPS)], **arguments)

    @pytest.mark.parametrize(
        "make",
        [
            lambda x, y: (x, y),
            lambda x, y: TensorDataset(x, y),
            lambda x, y: [(x[i], int(y[i])) for i in range(len(y))],
            lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7),
        ],
        ids=["arrays", "map", "list", "loader"],
    )
    def test_whatever_can_be_indexed_is_shuffled(self, make):
        x, y = digits(30)
        mixed = next(batches(shuffled(Dataset(name="d", source=make(x, y)), seed=1), 30))
        assert mixed.ids.tolist() != list(range(30))
        assert sorted(mixed.ids.tolist()) == list(range(30))
        assert torch.equal(mixed.x, x[mixed.ids])
        assert torch.equal(mixed.y, y[mixed.ids])

    def test_what_cannot_be_indexed_comes_as_it_is_with_a_note(self):
        x, y = digits(30)
        loader = DataLoader(TensorDataset(x, y), batch_size=7, collate_fn=lambda items: default_collate(items))
        for source in (loader, [(x[:10], y[:10]), (x[10:], y[10:])]):
            mixed = shuffled(Dataset(name="d", source=source), seed=1)
            assert mixed.source is source
            assert "in the order given" in mixed.notes[-1]
