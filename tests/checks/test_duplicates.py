"""The data leakage check."""

from __future__ import annotations

import pytest
import torch
from nets import digits, digits_cnn
from probe_examples import EPS, audited, by_id

import robustkit
from robustkit.attacks import FGSM
from robustkit.base.errors import ConfigurationError
from robustkit.checks.duplicates import Copies
from robustkit.data.dataset import batches
from robustkit.loading.data import load_data
from robustkit.model.classifier import Classifier


class TestCopies:
    def found(self, x, tuning=None, sha=None, dataset=None):
        copies = Copies()
        classifier = Classifier(digits_cnn())
        for batch in batches((x, torch.zeros(len(x), dtype=torch.int64)), 32):
            copies.add(classifier.accept(batch.x), batch)
        return copies.diagnostic(classifier, tuning, sha)

    def test_digits_hold_none(self):
        x, _ = digits(200)
        train = next(iter(batches(load_data("digits", split="train"), 2000)))
        item = self.found(x, (train.x, train.y))
        assert item.status == "pass"
        assert "none of them in 1297 tuning samples" in item.message

    def test_exact_and_near_copies_are_named(self):
        x, _ = digits(100)
        close = (x[:3] + 0.002).clamp(0, 1)
        item = self.found(torch.cat([x, x[5:7], close]))
        assert item.status == "remark"
        assert item.value == "5 duplicates"
        assert "2 of 105 samples are duplicates" in item.message
        assert "3 of the first 105 near-duplicates" in item.message
        assert "such as 100 of 5" in item.message

    def test_known_samples_fail(self):
        x, _ = digits(100)
        others = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        tuning = torch.cat([others, x[10:14], (x[20:21] + 0.002).clamp(0, 1)])
        item = self.found(x, (tuning, torch.zeros(55, dtype=torch.int64)))
        assert item.status == "fail"
        assert "5 are in the 55 tuning samples (10, 11, 12" in item.message

    def test_a_hash_tells_the_whole_set_only(self):
        x, y = digits(60)
        plain = audited(digits_cnn(), [FGSM(eps=EPS)], n=60, probes=0)
        for sha, status in ((plain.data_sha256, "fail"), ("0" * 64, "pass")):
            again = robustkit.evaluate(digits_cnn(), (x, y), [FGSM(eps=EPS)], tuning=sha)
            assert by_id(again)["Q23"].status == status
        with pytest.raises(ConfigurationError, match="tuning data: expected data or the 64 hexadecimal"):
            self.found(x, "train")
