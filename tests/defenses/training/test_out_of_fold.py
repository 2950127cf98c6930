"""What a network says of samples it was not trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import generator
from torch import nn

import robustkit.defenses.training.out_of_fold as module
from robustkit.base.errors import ConfigurationError
from robustkit.defenses import Recipe, out_of_fold


def samples():
    x = torch.rand(60, 4, generator=generator(1))
    y = (x[:, 0] > 0.5).long()
    return x, y


def test_every_sample_is_predicted_by_a_network_that_saw_neither_it_nor_its_copies(monkeypatch):
    x, y = samples()
    groups = np.arange(60) // 2
    seen = []

    def spy(classifier, x, y, objective, recipe, *, ids, progress):
        seen.append(set(ids.tolist()))
        with torch.no_grad():
            classifier.module.weight.fill_(float(len(seen)))  # tells who predicted
            classifier.module.bias.copy_(torch.tensor([0.0, float(len(seen))]))

    monkeypatch.setattr(module, "fit", spy)
    found = out_of_fold(nn.Linear(4, 2), x, y, groups, folds=3)
    judge = np.rint(np.log(found[:, 1] / found[:, 0])).astype(int)
    assert sorted(set(judge.tolist())) == [1, 2, 3]
    for row, number in enumerate(judge):
        assert not seen[number - 1] & {row, row ^ 1}
    assert all(len(rows) + (judge == number).sum() == 60 for number, rows in enumerate(seen, 1))


def test_the_network_stays_as_it_is_and_every_fold_begins_with_it():
    x, y = samples()
    net = nn.Linear(4, 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    told = []
    recipe = Recipe(epochs=1, lr=1e-12, optimizer="sgd", held_out=0.0)
    found = out_of_fold(net, x, y, recipe=recipe, progress=lambda fold, count, now: told.append((fold, count)))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert found == pytest.approx(net(x).softmax(1).detach().numpy(), abs=1e-5)
    assert {fold for fold, _ in told} == {1, 2, 3}
    assert np.array_equal(found, out_of_fold(net, x, y, recipe=recipe))


def test_one_fold_is_refused():
    x, y = samples()
    with pytest.raises(ConfigurationError, match="folds"):
        out_of_fold(nn.Linear(4, 2), x, y, folds=1)
