"""What the model says beside what the ledger says it said."""

from __future__ import annotations

import copy

import pytest
import torch
from bundles import Forger, X, Y, lies
from nets import digits_cnn

import robustkit
from robustkit.evaluation.outcome import Judge
from robustkit.model.classifier import Classifier
from robustkit.model.weights import weights_sha256


def test_swapped_weights(folder):
    other = copy.deepcopy(digits_cnn())
    other[-1].bias.data[0] += 0.5
    assert lies(folder, model=other).startswith("the model: weights_sha256: expected ")
    forger = Forger(folder)
    forger.audit(lambda audit: audit["subject"].update(weights_sha256=weights_sha256(other)))
    forger.finish()
    assert "the model: weights_sha256" in lies(folder)
    assert "ledger.csv: clean_confidence of sample" in lies(folder, model=other)


def test_figures_that_only_the_model_knows(folder):
    forger = Forger(folder)
    forger.audit(lambda a: a["calibration"]["clean"]["classwise_ece"].update(value=0.001))
    forger.audit(lambda a: a["gallery"][0].update(clean=a["gallery"][1]["clean"]))
    forger.audit(lambda a: a["subject"].update(parameters=5))
    forger.finish()
    assert lies(folder, model=False, data=None) == ""
    assert "report.json: clean picture of sample" in lies(folder, model=False)
    text = lies(folder)
    assert "the model: parameters" in text
    forger = Forger(folder)
    forger.audit(lambda a: a["subject"].update(parameters=sum(p.numel() for p in digits_cnn().parameters())))
    forger.finish()
    assert "audits[0].calibration.clean.classwise_ece" in lies(folder)


def test_a_confidence(folder):
    forger = Forger(folder)

    def modest(ledger):
        ledger["clean_confidence"][5] -= 0.05

    forger.ledger(modest)
    forger.finish()
    assert lies(folder, model=False, data=None) == ""
    assert "ledger.csv: clean_confidence of sample 5" in lies(folder)


class AnotherMachine:
    """A judge whose logits are off by a share of their spread."""

    def __init__(self, share):
        self.share = share

    def __call__(self, judge, x, ids):
        z = judge.honest(x, ids)
        sign = torch.where(torch.arange(z.shape[1]) % 2 == 0, 1.0, -1.0)
        return z + self.share * (z.amax(1) - z.amin(1)).unsqueeze(1) * sign


@pytest.mark.parametrize(("share", "holds"), [(3e-7, True), (3e-4, True), (0.05, False)])
def test_noise_of_another_machine_is_a_remark_and_no_forgery(folder, monkeypatch, share, holds):
    monkeypatch.setattr(Judge, "honest", Judge.__call__, raising=False)
    other = AnotherMachine(share)
    monkeypatch.setattr(Judge, "__call__", lambda self, x, ids: other(self, x, ids))
    result = robustkit.verify(folder, Classifier(digits_cnn()), (X, Y))
    assert result.holds is holds
    assert bool(result.remarks) is (share > 1e-5)
    for remark in result.remarks:
        assert "figures of ledger.csv differ within floating-point noise" in remark
        assert "two logits closer than 2e-3 of their spread" in remark
