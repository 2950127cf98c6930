"""One model in several disguises: each gets the true robust accuracy, or a check calls the result unreliable."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn
from torch import nn

import robustkit
from robustkit.attacks import APGD, FGSM, PGD, Noise, Square
from robustkit.bpda import BPDA
from robustkit.classifier import Classifier

EPS = 0.1
ATTACKS = [
    Noise(eps=EPS),
    FGSM(eps=EPS),
    PGD(eps=EPS, steps=20),
    APGD(eps=EPS, steps=20, loss="dlr", targets=9),
    Square(eps=EPS, queries=100),
]


class Twin(nn.Module):
    """The digits network behind a change of its input or its output."""

    def __init__(self, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.net, self.before, self.after = copy.deepcopy(digits_cnn()), before, after

    def forward(self, x):
        return self.after(self.net(self.before(x)))


@pytest.fixture(scope="module")
def truth() -> float:
    found = robustkit.evaluate(digits_cnn(), digits(100), ATTACKS)
    assert found.quality in ("reliable", "reliable with remarks")
    return found.robust_accuracy.value


TWINS = {
    "softmax head": Twin(after=lambda z: z.softmax(1)),
    "logits times 1e4": Twin(after=lambda z: 1e4 * z),
    "logits times 1e-4": Twin(after=lambda z: 1e-4 * z),
    "logits plus 1e6": Twin(after=lambda z: z + 1e6),
    "quantised input": Twin(before=lambda x: (x * 8).round() / 8),
    "random noise": Twin(before=lambda x: x + 0.1 * torch.randn_like(x)),
    "sign of the input": Twin(before=lambda x: (x > 0.5).to(x.dtype)),
    "detached": Twin(before=lambda x: x.detach()),
    "saturated softmax": Twin(after=lambda z: (1e3 * z).softmax(1)),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_gets_the_truth_or_a_warning(name, truth):
    try:
        found = robustkit.evaluate(TWINS[name], digits(100), ATTACKS)
    except robustkit.errors.InvalidEvaluation:
        return
    near = abs(found.robust_accuracy.value - truth) <= 0.02 + 1e-9
    assert near or found.quality in ("unreliable", "invalid"), f"{found} against {truth}, {found.quality}"


@pytest.mark.parametrize("name", ["softmax head", "logits times 1e4", "logits times 1e-4"])
def test_a_harmless_disguise_changes_nothing(name, truth):
    found = robustkit.evaluate(TWINS[name], digits(100), ATTACKS)
    assert abs(found.robust_accuracy.value - truth) <= 0.02 + 1e-9
    assert found.quality in ("reliable", "reliable with remarks")


def test_what_is_declared_is_attacked_through():
    # A quantised input with its substitute, judged by the same attacks: no zero gradient is left.
    through = Twin(before=BPDA(lambda x: (x * 8).round() / 8))
    around = robustkit.evaluate(TWINS["quantised input"], digits(100), ATTACKS[:4])
    found = robustkit.evaluate(through, digits(100), ATTACKS[:4])
    assert found.robust_accuracy.value < around.robust_accuracy.value - 0.2
    assert found.quality in ("reliable", "reliable with remarks")


class TestRandomModels:
    def test_results_depend_on_neither_batch_nor_order_nor_the_global_generator(self):
        x, y = digits(40)
        noisy = Classifier(TWINS["random noise"], draws=4)
        attacks = [PGD(eps=EPS, steps=5, eot=3), Square(eps=EPS, queries=5, eot=2)]
        one = robustkit.evaluate(noisy, (x, y), attacks, batch_size=40)
        order = torch.arange(39, -1, -1)
        with torch.random.fork_rng():
            torch.default_generator.manual_seed(123)
            two = robustkit.evaluate(noisy, (x[order], y[order], order), attacks, batch_size=7)
        for column in one.ledger.columns:
            np.testing.assert_allclose(one.ledger[column][::-1], two.ledger[column], rtol=1e-4, atol=1e-5)

    def test_more_draws_find_more(self):
        x, y = digits(100)
        noisy = Classifier(TWINS["random noise"], draws=16)
        single, averaged = (
            robustkit.evaluate(noisy, (x, y), [PGD(eps=EPS, steps=20, loss="margin", eot=k)]) for k in (1, 10)
        )
        assert averaged.robust_accuracy.k <= single.robust_accuracy.k
        # The noise itself smooths the model: the same attack on the model without it finds more.
        assert averaged.draws == 16

    def test_the_decision_rule_is_the_mean_over_draws(self):
        x, y = digits(60)
        found = robustkit.evaluate(Classifier(TWINS["random noise"], draws=16), (x, y), [Noise(eps=EPS)])
        status = {item.id: item.status for item in found.diagnostics}
        assert status["Q05"] == "remark"
        assert robustkit.evaluate(TWINS["random noise"], (x, y), [Noise(eps=EPS)]).quality == "unreliable"

    def test_an_average_costs_what_it_says(self):
        x, y = digits(8)
        classifier = Classifier(digits_cnn(), num_classes=10, output="logits")
        PGD(eps=0.001, steps=5, eot=3)(classifier, x, y)
        assert (classifier.tally.forwards, classifier.tally.backwards) == (8 * 3 * 6, 8 * 3 * 5)
