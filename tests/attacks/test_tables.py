"""Attacks on tables: what they return is a legal record, and what they search need not be."""

from __future__ import annotations

import pytest
import tables
import torch
from quick import quick

import robustkit
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.tables import from_columns
from robustkit.model.classifier import Classifier


@pytest.fixture(scope="module")
def data():
    return from_columns(tables.columns(), schema=tables.SCHEMA)


@pytest.fixture(scope="module")
def model(data):
    return Classifier(tables.net(), bounds=data.bounds)


ATTACKS = ["pgd:steps=5", "apgd:steps=5", "fab:steps=5", "fmn:steps=5", "fgsm", "square:queries=40", "noise",
           "hop-skip-jump:steps=2,looks=8"]  # fmt: skip


@pytest.mark.parametrize("norm", quick("Linf", slow=("L2", "L1")))
@pytest.mark.parametrize("attack", ATTACKS)
def test_whatever_attacks_return_is_a_legal_record(data, model, attack, norm):
    found = robustkit.evaluate(model, data, attack, norm=norm, evidence=True)
    ids, x_adv = found.adversarial()
    income = next(one.eps for one in data.schema.features if one.name == "income")
    assert tables.faults(data.source[0][ids], x_adv, income) == []
    relaxed = found.ledger.robust_relaxed
    assert not bool((relaxed & ~found.ledger.robust).any())  # what legal records break, relaxed ones do, too


def test_samples_that_an_attack_does_not_begin_stay_as_they_are(data, model):
    found = robustkit.evaluate(model, data, ["pgd:steps=2", "apgd:steps=5,close=0.3"], evidence=True)
    not_begun = found.ledger.right & (found.ledger["apgd-ce-close/steps"] == 0)
    assert not_begun.any()
    assert (found.ledger["apgd-ce-close/distance"][not_begun] == 0).all()


def test_a_linear_model_breaks_exactly_where_the_best_record_does(data, model):
    """Each feature at its best legal value by itself is the strongest record in Linf, where the model is linear."""
    x, y = data.source[0], torch.as_tensor(data.source[1])
    weight = (model.module.weight[1] - model.module.weight[0]).detach()
    best = x.clone()
    sign = torch.where(y == 1, -1.0, 1.0)
    for row in range(len(x)):
        gain = sign[row] * weight
        for one in data.schema.features:
            at = list(one.places)
            if one.eps == 0:
                continue
            if one.one_hot:
                best[row, at] = torch.eye(len(at))[int(gain[at].argmax())]
                continue
            low = x[row, at[0]] if one.may == "rise" else max(x[row, at[0]] - one.eps, torch.tensor(one.low))
            high = min(x[row, at[0]] + one.eps, torch.tensor(one.high))
            if one.levels:
                legal = [v for v in one.levels if low <= v <= high]
                low, high = legal[0], legal[-1]
            best[row, at[0]] = high if gain[at[0]] > 0 else low
    broken = model.logits(best).argmax(1) != y
    found = robustkit.evaluate(model, data, "apgd:steps=20")
    right = found.ledger.right
    assert (~found.ledger.robust[right]).tolist() == broken.numpy()[right].tolist()


def test_what_rounding_loses_is_counted(model):
    """Half a step of an integer breaks every sample; a whole one is too far for eps."""
    columns = {"a": torch.tensor([3, 7] * 10).numpy(), "label": [0, 1] * 10}
    data = from_columns({k: torch.tensor(v).numpy() if isinstance(v, list) else v for k, v in columns.items()},
                        schema={"features": {"a": {"eps": 2.9}}})  # fmt: skip
    net = torch.nn.Linear(1, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-1.0], [1.0]]))
        net.bias.copy_(torch.tensor([5.0 + 0.5, -5.0 - 0.5]))  # the boundary lies at 5.5
    found = robustkit.evaluate(Classifier(net, bounds=data.bounds), data, "pgd:steps=5")
    assert found.robust_accuracy.k == 10  # of 3 nothing up to 5 is enough; 7 gets down to 5
    assert int(found.ledger.robust_relaxed.sum()) == 0  # 3 + 2.9 = 5.9


def test_a_monotone_model_cannot_be_broken_against_the_direction_that_is_allowed(data):
    net = torch.nn.Linear(12, 2, bias=False)
    with torch.no_grad():
        net.weight.zero_()
        net.weight[1, 0], net.weight[0, 0] = 1.0, 0.0  # the older, the more surely class 1
    classifier = Classifier(net, bounds=data.bounds)
    found = robustkit.evaluate(classifier, (data.source[0], torch.ones(len(data.source[0])).long()),
                               "pgd:steps=5", eps=data.schema.eps())  # fmt: skip
    assert found.robust_accuracy.value == 1.0


def test_the_radius_of_another_schema_and_illegal_records_are_refused(data, model):
    for wrong in ({"eps": 0.1}, {"norm": "L1", "eps": data.schema.eps("L2")}):
        with pytest.raises(ConfigurationError, match="the eps of the data's schema in L"):
            robustkit.evaluate(model, data, "pgd", **wrong)
    x = data.source[0].clone()
    x[:, 0] += 0.5
    x[:, 0] = x[:, 0].clamp(18, 89.5)
    with pytest.raises(InvalidEvaluation, match="legal records of the schema"):
        robustkit.evaluate(model, (x, data.source[1]), "pgd", eps=data.schema.eps())


def test_a_seed_a_batch_size_and_an_order_give_the_same_records(data, model):
    runs = [robustkit.evaluate(model, data, "apgd:steps=5,restarts=2", batch_size=size) for size in (7, 60)]
    assert runs[0].ledger.robust.tolist() == runs[1].ledger.robust.tolist()
