"""The evaluator: what it counts, what nothing may depend on, and what it refuses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn
from torch.utils.data import DataLoader, TensorDataset
from twins import Twin

import robustkit
from robustkit.attacks import FGSM, PGD, Foolbox, Noise
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.dataset import Dataset
from robustkit.evaluation.ledger import Ledger
from robustkit.loading.data import load_data
from robustkit.model.classifier import Classifier

EPS = 0.1
ATTACKS = (Noise(eps=EPS, restarts=3), FGSM(eps=EPS), PGD(eps=EPS, steps=5))


def evaluation(**arguments):
    x, y = digits(120)
    return robustkit.evaluate(digits_cnn(), (x, y), ATTACKS, **{"batch_size": 64, **arguments})


@pytest.fixture(scope="module")
def found():
    return evaluation()


def test_robust_accuracy_counts_samples_right_under_every_attack():
    ledger = Ledger(["a", "b"])
    where = ledger.extend(4)
    ledger.write(where, label=[0, 0, 0, 0], clean_prediction=[0, 0, 0, 1])
    ledger.write(where, "a/", prediction=[0, 1, 0, -1])
    ledger.write(where, "b/", prediction=[0, 0, 1, -1])
    assert ledger.right.tolist() == [True, True, True, False]
    assert ledger.right_under("a").tolist() == [True, False, True, False]
    assert ledger.robust.tolist() == [True, False, False, False]


def test_figures_are_functions_of_the_ledger_and_orderings_hold(found):
    x, y = digits(120)
    right = digits_cnn()(x).argmax(1) == y
    assert found.clean_accuracy.k == int(right.sum())
    accuracies = [found.accuracy(run.label).k for run in found.runs]
    assert found.clean_accuracy.k >= accuracies[0] >= accuracies[1] >= accuracies[2] >= found.robust_accuracy.k
    assert found.attack_success().k == found.clean_accuracy.k - found.robust_accuracy.k
    assert found.attack_success().n == found.clean_accuracy.k
    per_class = found.per_class()
    assert sum(robust.k for *_, robust in per_class) == found.robust_accuracy.k
    assert sum(clean.n for _, clean, _ in per_class) == 120


def test_samples_wrong_from_the_start_are_not_attacked_and_count_as_not_robust(found):
    wrong = ~found.ledger.right
    assert wrong.any()
    for run in found.runs:
        assert (found.ledger[f"{run.label}/prediction"][wrong] == -1).all()
        assert (found.ledger[f"{run.label}/prediction"][~wrong] >= 0).all()
    assert not found.ledger.robust[wrong].any()


def test_the_worst_point_is_the_one_with_the_largest_margin(found):
    ledger = found.ledger
    margins = np.stack([ledger[f"{run.label}/margin"] for run in found.runs])[:, ledger.right]
    assert (ledger["worst_attack"][ledger.right] == margins.argmax(0)).all()
    assert ((ledger["worst_prediction"] == ledger["label"]) == ledger.robust).all()


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 7, 64])
def test_nothing_depends_on_batch_size_or_order(found, size):
    x, y = digits(120)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(size))
    other = robustkit.evaluate(digits_cnn(), (x[order], y[order], order), ATTACKS, batch_size=size)
    back = order.argsort().numpy()
    for column in found.ledger.columns:
        mine, theirs = found.ledger[column], other.ledger[column][back]
        if mine.dtype.kind == "f":
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
        elif not column.endswith(("steps", "queries", "worst_attack")):
            assert (mine == theirs).all(), column
    assert other.ids_sha256 == found.ids_sha256
    assert other.data_sha256 == found.data_sha256
    assert [e.id for e in other.examples] == [e.id for e in found.examples]


def test_data_hash_sees_one_changed_pixel(found):
    x, y = digits(120)
    x = x.clone()
    x[5, 0, 0, 0] += 0.25
    assert robustkit.evaluate(digits_cnn(), (x, y), [FGSM(eps=EPS)]).data_sha256 != found.data_sha256


@pytest.mark.parametrize("make", [
    lambda x, y: TensorDataset(x, y),
    lambda x, y: DataLoader(TensorDataset(x, y), batch_size=13),
    lambda x, y: ((a, int(b)) for a, b in zip(x, y, strict=True)),
])  # fmt: skip
def test_any_iterable_is_a_data_set(found, make):
    other = robustkit.evaluate(digits_cnn(), make(*digits(120)), ATTACKS)
    assert other.robust_accuracy == found.robust_accuracy


def test_limit_takes_the_first_samples(found):
    assert evaluation(limit=50).clean_accuracy.n == 50


def test_memory_holds_a_few_batches_only():
    alive = []

    class Counting(torch.utils.data.Dataset):
        def __len__(self):
            return 400

        def __getitem__(self, index):
            return torch.full((1, 8, 8), index / 400), index % 10

    original = Classifier.accept

    def accept(self, x):
        alive.append(len(x))
        return original(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "accept", accept)
        robustkit.evaluate(digits_cnn(), Counting(), [FGSM(eps=EPS)], batch_size=10, expected_clean_accuracy=0.1)
    assert max(alive) <= 64


def test_progress_reaches_its_total():
    seen = []
    evaluation(progress=seen.append)
    assert seen[-1].done == seen[-1].total == 120 * 4
    assert all(a.done <= b.done for a, b in pairwise(seen))
    assert seen[-1].robust == evaluation().robust_accuracy.k


def test_an_unexpected_clean_accuracy_stops_before_any_attack():
    calls = []
    with pytest.raises(InvalidEvaluation, match=r"expected clean accuracy 50\.00 %, got \d+ of 120"):
        evaluation(expected_clean_accuracy=0.5, progress=calls.append)
    assert not calls
    assert evaluation(expected_clean_accuracy=0.99).found[0].id == "Q01"


def test_attacks_of_two_threats_and_equal_attacks_are_refused():
    for attacks, text in (
        ([FGSM(eps=0.1), FGSM(eps=0.2)], "one threat"),
        ([FGSM(eps=0.1), FGSM(eps="0.1")], "more than once"),
        ([], "at least one attack"),
    ):
        with pytest.raises(ConfigurationError, match=text):
            robustkit.evaluate(digits_cnn(), digits(20), attacks)


def test_namesakes_are_told_apart_by_their_settings():
    both = robustkit.evaluate(digits_cnn(), digits(20), [PGD(eps=EPS, steps=2), PGD(eps=EPS, steps=2, loss="margin")])
    assert [run.label for run in both.runs] == ["pgd(loss=ce)", "pgd(loss=margin)"]


def test_an_attack_outside_its_threat_is_an_error(monkeypatch):
    monkeypatch.setattr("robustkit.attacks.threat.Threat.project", lambda self, x_adv, x, lower, upper: x_adv + 1e-4)
    with pytest.raises(robustkit.base.errors.RobustkitError, match="pgd: expected points within Linf"):
        robustkit.evaluate(digits_cnn(), digits(20), [PGD(eps=EPS, steps=2)])


def test_targeted_success_is_the_target_and_nothing_else():
    result = robustkit.evaluate(digits_cnn(), digits(120), [PGD(eps=0.3, steps=20, target=3)])
    predicted = result.ledger["pgd/prediction"][result.ledger.right]
    assert result.attack_success("pgd").k == int((predicted == 3).sum())
    assert result.attack_success("pgd").k > 20


def test_foolbox_runs_through_the_same_evaluator(found):
    attack = Foolbox(attack="LinfFastGradientAttack", eps=EPS, options=(("random_start", False),))
    result = robustkit.evaluate(digits_cnn(), digits(120), [attack, FGSM(eps=EPS)])
    assert abs(result.accuracy("foolbox:LinfFastGradientAttack").k - result.accuracy("fgsm").k) <= 1


def test_examples_are_broken_samples_inside_the_threat(found):
    broken = [example for example in found.examples if example.broken]
    assert len({example.label for example in broken}) == len(broken) == 10
    assert 0 < len(found.examples) - len(broken) < 10
    for example in found.examples:
        assert example.clean_prediction == example.label
        assert (example.x_adv.double() - example.x.double()).abs().max() <= EPS


def test_noise_that_beats_the_gradient_attack_fails_the_evaluation():
    masked = Twin(before=lambda x: (x * 8).round() / 8)
    result = robustkit.evaluate(masked, digits(120), [Noise(eps=0.6, restarts=20), FGSM(eps=0.6)])
    failed = {item.id for item in result.diagnostics if item.status == "fail"}
    assert {"Q07", "Q16"} <= failed
    assert result.quality == "unreliable"


CLEAN = {  # right answers of foreign networks, as counted by others
    "mnist_trades": 9948,
    "mnist_convex_eps01": 9820,
    "mnist_cnn_a_adv": 9633,
    "mnist_fmn_standard": 9814,
    "mnist_autoattack_tf": 9774,
    "cifar10_akamaster_resnet20": 381,
    "cifar10_resnet2b": 321,
    "cifar10_oval_sgd": 330,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLEAN)
def test_clean_accuracy_of_foreign_networks_is_right_to_the_image(name, pretrained, shared_data):
    file = "mnist/test.npz" if name.startswith("mnist") else "cifar10_lossless/test406.npz"
    data = load_data(shared_data / "data" / file)
    attack = Noise(eps=0, restarts=1)
    found = robustkit.evaluate(pretrained(name), data, [attack], expected_clean_accuracy=CLEAN[name] / _size(name))
    assert found.clean_accuracy.k == CLEAN[name]
    assert found.robust_accuracy == found.clean_accuracy  # a radius of zero changes nothing


def _size(name):
    return 10000 if name.startswith("mnist") else 406


def test_data_in_other_bounds_than_the_model_are_refused_before_any_work():
    x, y = digits(8)
    attacks = [FGSM(eps=EPS)]
    with pytest.raises(
        ConfigurationError, match=r"expected data in the model's bounds \(0.0, 1.0\), got \(0.0, 255.0\)"
    ):
        robustkit.evaluate(digits_cnn(), Dataset(name="raw", source=(x, y), bounds=(0.0, 255.0)), attacks)


@pytest.mark.parametrize("eps", ["8/255", 8 / 255])
def test_an_eps_in_grey_levels_for_other_bounds_must_be_said_as_a_decimal(eps):
    x, y = digits(8)
    wide = Classifier(digits_cnn(), bounds=(-1.0, 1.0))
    with pytest.raises(ConfigurationError, match=r"in -1\.\.1, got 8/255; give 0\.0627451 for 8/255 of the range"):
        robustkit.evaluate(wide, (x, y), [FGSM(eps=eps)])
    with pytest.raises(ConfigurationError, match="got 8/255"):
        FGSM(eps=eps)(wide, x, y)
    with pytest.raises(ConfigurationError, match="got 8/255"):
        robustkit.security_curve(wide, (x, y), [FGSM(eps="0.1")], ["0.1", eps])
    assert robustkit.evaluate(wide, (x, y), [FGSM(eps="0.0314")]).threat.eps == "0.0314"
    halves = Classifier(digits_cnn(), bounds=(-0.5, 0.5))  # as wide as 0..1, so that 255ths are grey levels
    assert robustkit.evaluate(halves, (x - 0.5, y), [FGSM(eps=eps)]).threat.radius == 8 / 255
