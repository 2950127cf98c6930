"""foolbox's attacks through our evaluator: its results, our promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import generator, images, smooth_cnn

from robustkit.attacks import Foolbox, create
from robustkit.base.errors import ConfigurationError
from robustkit.model.classifier import Classifier

N = 16
NET = smooth_cnn().eval()
X, Y = images(N), NET(images(N)).argmax(1)
CW = (("binary_search_steps", 3), ("steps", 40))
KINDS = {
    "LinfDeepFoolAttack": Foolbox(attack="LinfDeepFoolAttack", eps=0.06),
    "L2DeepFoolAttack": Foolbox(attack="L2DeepFoolAttack", norm="L2", eps=0.3),
    "L2CarliniWagnerAttack": Foolbox(attack="L2CarliniWagnerAttack", norm="L2", eps=0.3, options=CW),
    "EADAttack": Foolbox(attack="EADAttack", norm="L1", eps=1.0, options=CW),
    "LinfPGD": Foolbox(attack="LinfPGD", eps=0.06, options=(("steps", 5),)),
    "HopSkipJumpAttack": Foolbox(
        attack="HopSkipJumpAttack", norm="L2", eps=0.5, options=(("max_gradient_eval_steps", 50), ("steps", 2))
    ),
}
every_kind = pytest.mark.parametrize("attack", KINDS.values(), ids=KINDS)
quick_kinds = pytest.mark.parametrize(
    "attack",
    [
        pytest.param(
            kind,
            id=name,
            marks=pytest.mark.slow if name in ("EADAttack", "HopSkipJumpAttack", "L2CarliniWagnerAttack") else (),
        )
        for name, kind in KINDS.items()
    ],
)


def states():
    return torch.get_rng_state(), np.random.get_state(legacy=False)["state"]  # noqa: NPY002


@every_kind
def test_it_breaks_rows_inside_the_threat(attack):
    found = attack(NET, X, Y)
    assert found.success.any()
    assert found.success.equal(NET(found.x_adv).argmax(1) != Y)
    assert (found.distance <= float(attack.eps)).all()


@quick_kinds
def test_results_depend_neither_on_batch_nor_order_nor_company(attack):
    whole = attack(NET, X, Y)
    order = torch.randperm(N, generator=generator())[:9]
    for batch_size, rows in ((None, order), (1, order[:3]), (4, order)):
        part = attack(NET, X[rows], Y[rows], ids=rows, batch_size=batch_size)
        assert part.success.equal(whole.success[rows])
        torch.testing.assert_close(part.x_adv, whole.x_adv[rows], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["LinfPGD", pytest.param("HopSkipJumpAttack", marks=pytest.mark.slow)])
def test_an_attack_that_draws_follows_the_seed_and_nothing_else(name):
    attack = KINDS[name]
    first = attack(NET, X, Y, seed=1)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    assert attack(NET, X, Y, seed=1).x_adv.equal(first.x_adv)
    assert not attack(NET, X, Y, seed=2).x_adv.equal(first.x_adv)
    assert not attack(NET, X, Y, seed=1, ids=torch.arange(N) + 1).x_adv.equal(first.x_adv)


@quick_kinds
def test_the_global_generators_are_neither_changed_nor_read(attack):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = states()
    first = attack(NET, X, Y)
    after = states()
    assert after[0].equal(before[0])
    assert (after[1]["key"] == before[1]["key"]).all()
    assert after[1]["pos"] == before[1]["pos"]
    torch.rand(5)
    np.random.rand(5)  # noqa: NPY002
    assert attack(NET, X, Y).x_adv.equal(first.x_adv)


@quick_kinds
def test_forward_and_backward_passes_are_counted(attack):
    classifier = Classifier(NET)
    attack(classifier, X, Y)
    assert classifier.tally.forwards > 2 * N
    if attack.attack == "HopSkipJumpAttack":
        assert classifier.tally.backwards == 0
    else:
        assert classifier.tally.backwards >= N


def test_an_exact_number_of_passes_where_foolbox_makes_exact_steps():
    classifier = Classifier(NET, output="logits", num_classes=4)
    with classifier.frozen():
        classifier.tally.forwards = 0
    Foolbox(attack="LinfPGD", eps=1e-6, options=(("steps", 5),))(classifier, X, Y)
    assert classifier.tally.backwards == 5 * N


def test_restarts_give_an_attack_that_draws_another_chance():
    attack = {r: Foolbox(attack="LinfPGD", eps=0.03, restarts=r, options=(("steps", 1),)) for r in (1, 6)}
    once, often = (attack[r](NET, X, Y) for r in (1, 6))
    assert not (once.success & ~often.success).any()
    assert (often.margin >= once.margin)[~once.success].all()
    assert (often.margin > once.margin).any()


def test_a_target_is_reached_where_it_says_so():
    goal = (Y + 1) % 4
    found = Foolbox(attack="LinfPGD", eps=0.2, options=(("steps", 20),))(NET, X, Y, target=goal)
    assert found.success.equal(NET(found.x_adv).argmax(1) == goal)
    assert found.success.any()


def test_settings_name_every_argument_of_the_foolbox_class():
    settings = Foolbox(attack="LinfPGD", eps="8/255", options=(("steps", 7),)).settings()
    assert settings["attack"] == "LinfPGD"
    assert settings["steps"] == 7
    assert settings["random_start"] is True
    assert settings["eps"] == "8/255"
    assert settings["rel_stepsize"] == pytest.approx(0.01 / 0.3)
    assert "options" not in settings


def test_stopping_on_the_loss_of_the_whole_batch_is_switched_off_and_said_so():
    assert KINDS["L2CarliniWagnerAttack"].settings()["abort_early"] is False


def test_it_is_called_by_its_class_in_reports():
    assert KINDS["LinfPGD"].label == "foolbox:LinfPGD"


@pytest.mark.parametrize(
    ("spec", "attack"),
    [
        ("foolbox:LinfDeepFoolAttack", Foolbox(attack="LinfDeepFoolAttack")),
        ("foolbox:LinfPGD,steps=5,eps=0.1", Foolbox(attack="LinfPGD", eps=0.1, options=(("steps", 5),))),
        ("foolbox:attack=L2PGD,norm=L2", Foolbox(attack="L2PGD", norm="L2")),
    ],
)
def test_a_text_describes_it(spec, attack):
    assert create(spec) == attack


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attack": "LinfDepFoolAttack"}, "got 'LinfDepFoolAttack'; did you mean 'LinfDeepFoolAttack'"),
        ({"attack": "zzz"}, "got 'zzz'; see foolbox's documentation"),
        ({"attack": "L2PGD"}, "foolbox L2PGD: expected norm L2, got Linf; say norm=L2"),
        ({"attack": "LinfPGD", "norm": "L1"}, "foolbox LinfPGD: expected norm Linf, got L1; say norm=Linf"),
        ({"attack": "SpatialAttack"}, "expected an attack that measures Linf, L2 or L1, got one that does not"),
        ({"attack": "L0FMNAttack"}, "expected an attack that measures Linf, L2 or L1, got one that does not"),
        ({"attack": "LinfPGD", "options": (("stepps", 5),)}, "foolbox LinfPGD: .*unexpected keyword argument 'stepps'"),
        ({"attack": "Attack"}, "foolbox Attack: "),
    ],
)
def test_what_foolbox_cannot_do_is_refused_in_one_line(arguments, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        Foolbox(**arguments)
    assert "\n" not in str(caught.value)


def test_what_foolbox_refuses_later_is_one_line_too():
    with pytest.raises(ConfigurationError, match="foolbox GenAttack: unsupported criterion"):
        Foolbox(attack="GenAttack")(NET, X, Y)
