"""The training loop as a whole."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from nets import digits, robust_accuracy
from objective_rows import EVERY
from tiny_training import TINY, data, net, same
from torch.utils.data import DataLoader, TensorDataset

from robustkit.attacks import PGD
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.dataset import batches
from robustkit.defenses import FGSMRS, TRADES, Free, PGDTraining, Standard, fit
from robustkit.defenses.training import Finding, Recipe, clock, rollback
from robustkit.defenses.training.early_stopping import EarlyStopping
from robustkit.loading.data import load_data
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create


@pytest.mark.parametrize(
    "limit",
    [
        PGDTraining(attack=PGD(eps=0, steps=2)),
        TRADES(attack=PGD(eps=0.1, steps=2), beta=0),
        Free(m=1, eps=0),
        FGSMRS(eps=0),
    ],
    ids=lambda objective: objective.name,
)
def test_limit_cases_train_to_the_weights_of_cross_entropy_bit_for_bit(trained, limit):
    plain, _ = trained(Standard(), epochs=2, select="last")
    assert same(trained(limit, epochs=2, select="last")[0], plain)
    assert not same(trained(PGDTraining(attack=PGD(eps=0.1, steps=2)), epochs=2, select="last")[0], plain)


def test_training_repeats_bit_for_bit_and_follows_its_seed(trained):
    first, _ = trained(Standard(), epochs=1)
    torch.rand(7)  # the global generator has no say
    assert same(first, trained(Standard(), epochs=1)[0])
    assert not same(first, trained(Standard(), epochs=1, seed=1)[0])


def test_adversarial_training_makes_the_model_robust_and_keeps_it_accurate():
    x, y = digits(200)
    samples = next(iter(batches(load_data("digits", split="train"), 1200)))
    standard, hardened = (Classifier(create("mlp", (1, 8, 8), 10)) for _ in range(2))
    fit(standard, samples.x, samples.y, Standard(), epochs=4)
    fit(hardened, samples.x, samples.y, PGDTraining(attack=PGD(eps=0.1, steps=4)), epochs=7, eval_every=9)
    attack = PGD(eps=0.1, steps=20)
    assert robust_accuracy(attack, hardened, x, y) > robust_accuracy(attack, standard, x, y) + 0.1
    assert (hardened.logits(x).argmax(1) == y).double().mean() > 0.9


def test_an_epoch_that_was_rolled_back_is_neither_judged_nor_passed_over(trained, monkeypatch):
    judged, asked = [], []

    def second_epoch_once(epoch, figures, best):
        asked.append(epoch)
        return Finding("catastrophic overfitting", epoch, "evidence", "fix", fatal=True) if asked == [1, 2] else None

    monkeypatch.setattr(rollback, "catastrophic", second_epoch_once)
    judge = EarlyStopping.judge
    monkeypatch.setattr(EarlyStopping, "judge", lambda self, epoch: (judged.append(epoch.number), judge(self, epoch)))
    _, result = trained(EVERY["fgsm-rs"], epochs=3, on_catastrophic="rollback", guard_every=9)
    assert [epoch.number for epoch in result.epochs] == judged == [1, 2, 3]
    assert asked == [1, 2, 2, 3]


def test_the_last_batch_of_an_epoch_is_looked_at_with_the_epoch_and_not_before(trained, monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))  # a report each time
    heard = []
    trained(Standard(), epochs=2, progress=lambda now: heard.append((now.epoch, now.batch)))
    assert heard == [(1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3), (2, 0)]


def test_a_bare_module_and_samples_in_every_usual_form_train_alike():
    x, y = data()
    first = None
    for arguments in [
        (x, y, Standard()),
        (x.numpy(), y.numpy(), Standard()),
        ((x, y), Standard()),
        (TensorDataset(x, y), Standard()),
        (DataLoader(TensorDataset(x, y), 7, shuffle=True), Standard()),
        (TensorDataset(x, y), Standard(), Recipe(epochs=1, **TINY)),
    ]:
        model = net()
        model.load_state_dict({name: torch.ones_like(value) for name, value in model.state_dict().items()})
        plan = {} if isinstance(arguments[-1], Recipe) else {"epochs": 1, **TINY}
        assert len(fit(model, *arguments, **plan).epochs) == 1
        first = first or model.state_dict()
        assert same(first, model.state_dict())


def test_samples_without_labels_or_without_an_objective_are_refused():
    with pytest.raises(InvalidEvaluation, match="data: expected"):
        fit(net(), data()[0], objective=Standard())
    with pytest.raises(ConfigurationError, match="expected objective to be an Objective, got None"):
        fit(net(), *data())
