"""Ensembles: what each rule computes, and that attacks find their way through all of them."""

from __future__ import annotations

import copy
import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, generator, images, labels, linear, smooth_cnn
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy

from robustkit.attacks import PGD
from robustkit.attacks.all_steps import craft
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.dataset import batches
from robustkit.defenses.ensemble import RULES, TIE, Ensemble, fit_weights, fresh_copies, snapshots
from robustkit.evaluation.ensemble_members import members_of, transfer
from robustkit.loading.data import load_data
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create

WEIGHTS = {"weighted": [3, 2, 1]}


class Fixed(nn.Module):
    """Gives the same logits for every sample."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float32))

    def forward(self, x):
        return self.logits.expand(len(x), -1) + 0 * x.flatten(1).sum(1, keepdim=True)


class Louder(nn.Module):
    def __init__(self, inner: nn.Module, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, x):
        return self.inner(x) * self.factor


@functools.cache
def member(seed: int) -> nn.Module:
    """A perceptron trained on digits for two epochs."""
    net = create("mlp", (1, 8, 8), 10, seed=seed)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for batch in [*batches(load_data("digits", split="train"), 64)] * 2:
        optimizer.zero_grad()
        cross_entropy(net(batch.x), batch.y).backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


def probabilities(rule: str, *members: nn.Module, weights=None) -> torch.Tensor:
    return Ensemble(members, rule, weights)(torch.zeros(1, 3)).softmax(1)[0].double()


def test_mean_of_logits_is_the_mean_of_the_logits():
    ensemble = Ensemble([Fixed(1, 2, 3), Fixed(3, 0, 3)])
    assert ensemble(torch.zeros(2, 3)).tolist() == [[2, 1, 3]] * 2


@pytest.mark.parametrize("rule", ["mean_probabilities", "soft_vote"])
def test_mean_of_probabilities_is_that_also_where_softmax_underflows(rule):
    members = Fixed(0, 0, -500), Fixed(0, -500, 0)
    assert probabilities(rule, *members).tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert bool(Ensemble(members, rule)(torch.zeros(1, 3)).isfinite().all())


def test_weights_count_in_any_unit():
    members = Fixed(0, 0, -500), Fixed(-500, -500, 0)
    assert probabilities("weighted", *members, weights=[6, 2]).tolist() == pytest.approx([0.375, 0.375, 0.25])
    assert Ensemble(members, "mean_logits", [0, 5])(torch.zeros(1, 3)).tolist() == [[-500, -500, 0]]


def test_majority_wins_a_hard_vote_however_loud_the_minority():
    found = probabilities("hard_vote", Fixed(0.1, 0, 0), Fixed(0.1, 0, 0), Fixed(0, 9, 0))
    assert found.argmax() == 0
    assert found.tolist() == pytest.approx([2 / 3, 1 / 3, 0], abs=2 * TIE)


def test_tied_vote_goes_to_the_larger_mean_probability():
    assert probabilities("hard_vote", Fixed(1.5, 0, 0), Fixed(0, 2, 0)).argmax() == 1
    assert probabilities("hard_vote", Fixed(2, 0, 0), Fixed(0, 1.5, 0)).argmax() == 0


def test_votes_are_weighted():
    assert (
        probabilities("hard_vote", Fixed(1.5, 0, 0), Fixed(1.5, 0, 0), Fixed(0, 1.5, 0), weights=[1, 1, 3]).argmax()
        == 1
    )


@pytest.mark.parametrize("rule", RULES)
def test_one_member_alone_answers_as_itself(rule):
    net, x = smooth_cnn(), images(40)
    assert torch.equal(Ensemble([net], rule, [2.0])(x).argmax(1), net(x).argmax(1))


@pytest.mark.parametrize("rule", RULES)
def test_copies_of_one_member_give_its_probabilities(rule):
    net, x = smooth_cnn(), images(40)
    found, alone = Ensemble([net] * 3, rule, [1.0, 1.0, 1.0])(x), net(x)
    if rule == "hard_vote":
        assert torch.equal(found.argmax(1), alone.argmax(1))
    else:
        torch.testing.assert_close(found.softmax(1), alone.softmax(1))


def test_normalisation_of_each_member_is_inside():
    net, x = smooth_cnn(), images(10)
    members = [Classifier(net, mean=0.2, std=0.5), Classifier(net, mean=[0.1], std=[0.3])]
    expected = (net((x - 0.2) / 0.5) + net((x - 0.1) / 0.3)) / 2
    torch.testing.assert_close(Ensemble(members)(x), expected)


def test_members_may_give_probabilities_tuples_or_one_logit():
    net, x = linear(torch.tensor([[0.0] * 36, [0.1] * 36])), images(10, dtype=torch.float32)
    softmax = Classifier(nn.Sequential(net, nn.Softmax(1)), output="probabilities")
    single = Classifier(lambda x: net(x)[:, 1:], output="binary_logit")
    found = Ensemble([Classifier(lambda x: (net(x), x)), softmax, single], "mean_probabilities")(x)
    torch.testing.assert_close(found.softmax(1), net(x).softmax(1))


def test_an_ensemble_can_be_cast_moved_saved_and_copied():
    ensemble = Ensemble([Classifier(create("cnn", (1, 8, 8), 3), mean=0.5, std=0.5)] * 2, "hard_vote", [1, 2])
    twin = Ensemble([Classifier(create("cnn", (1, 8, 8), 3, seed=1), mean=0.1, std=0.1)] * 2, "hard_vote")
    twin.load_state_dict(ensemble.state_dict())
    x = torch.rand(4, 1, 8, 8, generator=generator())
    ensemble.eval(), twin.eval()
    assert torch.equal(ensemble(x), twin(x))
    assert torch.equal(copy.deepcopy(ensemble)(x), twin(x))
    torch.testing.assert_close(ensemble.double()(x.double()).float(), twin(x), atol=1e-4, rtol=0)


@pytest.mark.parametrize("rule", ["mean_probabilities", "hard_vote"])
def test_training_mode_differentiates_the_mean_of_probabilities(rule):
    members = [smooth_cnn(seed=s) for s in (0, 1)]
    ensemble = Ensemble(members, rule).train()
    for net in members:
        net.eval()
    x = images(3).requires_grad_()
    (found,) = torch.autograd.grad(ensemble(x)[:, 0].sum(), x)
    mean = torch.stack([net(x).softmax(1) for net in members]).mean(0).log()
    (expected,) = torch.autograd.grad(mean[:, 0].sum(), x)
    torch.testing.assert_close(found, expected)


def accuracy(model: nn.Module, y: torch.Tensor, *points: torch.Tensor) -> float:
    with torch.no_grad():
        return float(torch.stack([model(x).argmax(1) == y for x in points]).all(0).double().mean())


ATTACKS = [PGD(eps=0.2, steps=10, loss=loss) for loss in ("ce", "margin")]


@functools.cache
def transferred(factor: float) -> tuple[list[nn.Module], list[list[torch.Tensor]]]:
    """Returns three members, one of another kind, and the points made for each."""
    x, y = digits(80)
    members = [Louder(net, factor) for net in (member(0), member(1), digits_cnn())]
    return members, [[attack(net, x, y).x_adv for attack in ATTACKS] for net in members]


@pytest.mark.parametrize("factor", [pytest.param(1, marks=pytest.mark.slow), 50], ids=["plain", "saturated"])
@pytest.mark.parametrize("rule", RULES)
def test_attacked_end_to_end_an_ensemble_is_no_more_robust_than_under_transfer(rule, factor):
    x, y = digits(80)
    members, points = transferred(factor)
    ensemble = Ensemble(members, rule, WEIGHTS.get(rule))
    end_to_end = accuracy(ensemble, y, x, *(attack(ensemble, x, y).x_adv for attack in ATTACKS))
    assert end_to_end <= min(accuracy(ensemble, y, x, *made) for made in points)
    assert end_to_end < 0.2 < accuracy(ensemble, y, x)


def test_fitted_weights_lower_the_loss_and_drop_a_useless_member():
    x, y = digits(200)
    noise = linear(torch.randn(10, 64, generator=generator()))
    members = [member(0), noise, member(1)]
    for rule in ("mean_probabilities", "mean_logits"):
        weights = fit_weights(members, x, y, rule)
        assert sum(weights) == pytest.approx(1)
        assert min(weights) >= 0
        assert weights[1] < 0.05
        assert cross_entropy(Ensemble(members, rule, weights)(x), y) < cross_entropy(Ensemble(members, rule)(x), y)


def test_fitted_weights_solve_the_two_member_problem_exactly():
    # Three of four labels favour the first member: the likelihood 3 log(.8 w + .2 v) + log(.2 w + .8 v), v = 1 - w, has
    # its maximum at .8 w + .2 v = 3/4.
    high, low = np.log([0.8, 0.2])
    members = [Fixed(high, low), Fixed(low, high)]
    weights = fit_weights(members, torch.zeros(4, 3), torch.tensor([0, 0, 0, 1]))
    assert weights[0] == pytest.approx((0.75 - 0.2) / 0.6, abs=1e-4)


@pytest.mark.parametrize("found", [[1.0, 0.0], [float("nan"), 1.0], [0.0, 0.0]])
def test_equal_weights_are_kept_where_the_search_finds_worse_ones_or_none(monkeypatch, found):
    members, x, y = [smooth_cnn(seed=1), smooth_cnn(seed=1)], images(12), labels(12)
    members[0][-1].bias.data -= 20 * torch.nn.functional.one_hot(y[0], 4)  # worse by itself
    monkeypatch.setattr("robustkit.defenses.ensemble.minimize", lambda *_, **__: SimpleNamespace(x=np.array(found)))
    assert fit_weights(members, x, y) == [0.5, 0.5]


def test_equal_members_keep_equal_weights():
    net = smooth_cnn()
    assert fit_weights([net, net], images(30), labels(30)) == pytest.approx([0.5, 0.5])


def test_snapshots_are_the_model_at_each_checkpoint(tmp_path):
    model, states = create("mlp", (1, 8, 8), 10), []
    for seed in (1, 2):
        save_file(create("mlp", (1, 8, 8), 10, seed=seed).state_dict(), tmp_path / f"{seed}.safetensors")
        states.append(tmp_path / f"{seed}.safetensors")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = snapshots(model, states)
    x = torch.rand(3, 1, 8, 8, generator=generator())
    assert torch.equal(first(x), create("mlp", (1, 8, 8), 10, seed=1)(x))
    assert torch.equal(second(x), create("mlp", (1, 8, 8), 10, seed=2)(x))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_fresh_copies_have_weights_of_their_own_that_the_seed_decides():
    model, state = create("cnn", (1, 8, 8), 10), torch.random.get_rng_state()
    one, two = fresh_copies(model, 2)
    again = fresh_copies(model, 1)[0]
    for name, value in one.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        if value.ndim > 1:
            assert not torch.equal(value, two.state_dict()[name])
            assert not torch.equal(value, model.state_dict()[name])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_transfer_matrix_holds_own_attack_on_the_diagonal_and_counts_disagreement():
    x, y = digits(60)
    attack = PGD(eps=0.15, steps=10)
    models = {"a": Classifier(member(0)), "copy of a": Classifier(member(0)), "b": Classifier(member(1))}
    calls = []
    found = transfer(models, x, y, [attack], batch_size=25, progress=lambda *call: calls.append(call))
    assert [done for done, _ in calls] == [25, 50, 75, 100, 125, 150, 160, 170, 180]
    assert {total for _, total in calls} == {180}
    assert found.names == ("a", "copy of a", "b")
    own = accuracy(member(0), y, x, attack(member(0), x, y).x_adv)
    assert found.accuracy[0][0].value == pytest.approx(own)
    assert found.accuracy[0][1] == found.accuracy[0][0]  # a twin is fooled by the same points
    assert found.accuracy[0][2].k > found.accuracy[2][2].k
    assert found.clean[2].value == accuracy(member(1), y, x)
    assert found.disagreement[0][1].k == 0
    differing = int((member(0)(x).argmax(1) != member(1)(x).argmax(1)).sum())
    assert found.disagreement[0][2].k == found.disagreement[2][0].k == differing
    points = [attack(member(0), x, y).x_adv, craft(attack, models["a"], x, y, torch.arange(60), 0)]
    right = [member(number)(x).argmax(1) == y for number in (0, 1)]
    lost = [~torch.stack([member(number)(point).argmax(1) == y for point in points]).all(0) for number in (0, 1)]
    among = right[0] & right[1] & lost[0]
    assert (found.carried[0][2].k, found.carried[0][2].n) == (int((among & lost[1]).sum()), int(among.sum()))
    assert found.carried[0][0].value == found.carried[0][1].value == 1
    assert found.carried[0][2].value < 1


def test_members_of_an_ensemble_are_seen_through_the_scaling_of_the_whole():
    x, y = digits(40)
    plain = Classifier(Ensemble([member(0), member(1)], "hard_vote"), num_classes=10)
    scaled = Classifier(plain.module, bounds=(0, 2), mean=0.0, std=2.0, num_classes=10)
    one, two = (
        members_of(model, factor * x, y, [PGD(eps=factor * 0.1, steps=5)])
        for model, factor in [(plain, 1), (scaled, 2)]
    )
    assert one.names == ("member 1", "member 2")
    assert one == two
    assert one.clean[1].value == accuracy(member(1), y, x)
    with pytest.raises(ConfigurationError, match="expected an Ensemble, got Sequential"):
        members_of(Classifier(member(0)), x, y, [PGD(eps=0.1, steps=5)])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Ensemble([]), "at least one member"),
        (lambda: Ensemble([smooth_cnn()], "hard_votes"), "did you mean 'hard_vote'"),
        (lambda: Ensemble([smooth_cnn()], "weighted"), "see fit_weights"),
        (lambda: Ensemble([smooth_cnn()], weights=[1, 2]), "one weight >= 0 for each of 1"),
        (lambda: Ensemble([smooth_cnn()], weights=[-1]), "one weight >= 0"),
        (lambda: Ensemble([smooth_cnn()] * 2, weights=[0, 0]), "one weight >= 0"),
        (lambda: Ensemble([smooth_cnn(), Classifier(smooth_cnn(), bounds=(-1, 1))]), "the same input bounds"),
        (lambda: Ensemble([smooth_cnn(4), smooth_cnn(5)])(images(2)), "got 4 and 5 scores a row"),
        (lambda: transfer({}, images(2), labels(2), []), "expected models and attacks"),
    ],
)
def test_what_cannot_be_meant_is_refused(build, message):
    with pytest.raises(ConfigurationError, match=message):
        build()


def test_labels_must_match_the_samples_of_a_fit():
    with pytest.raises(InvalidEvaluation, match="one label per sample"):
        fit_weights([smooth_cnn()] * 2, images(5), labels(4))
