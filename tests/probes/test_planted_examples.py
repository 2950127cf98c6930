"""Planted adversarial inputs: honest models pass, masked ones fail, and the planted point is where it should be."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import digits, digits_cnn, generator, images, linear, smooth_cnn
from quick import quick
from torch import Tensor, nn

from robustkit.attacks import APGD, FGSM, PGD, Foolbox, Noise, Square
from robustkit.attacks.threat import Threat
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.checks.diagnostic import complete, quality
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier
from robustkit.probes import planting as planting
from robustkit.probes.planted_examples import Planted, Trial, planted
from robustkit.probes.planting import draw, features, find_head, on_surface, plant

RADII = {"Linf": 0.1, "L2": 0.5, "L1": 3.0}
LINEAR = linear(torch.randn(10, 64, generator=generator()))
norms = pytest.mark.parametrize("norm", list(RADII))
quick_norms = pytest.mark.parametrize("norm", quick("Linf", slow=("L2", "L1")))


class Around(nn.Module):
    """A network with something done to its input or output."""

    def __init__(self, net: nn.Module, before=lambda x: x, after=lambda z: z) -> None:
        super().__init__()
        self.net, self.before, self.after = net, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.net(self.before(x)))


def quantised() -> nn.Module:
    """Returns the digits network behind eight grey levels, whose gradient is zero everywhere."""
    return Around(digits_cnn(), before=lambda x: (x * 7).round() / 7)


def right(net: nn.Module, n: int = 8) -> tuple[Tensor, Tensor]:
    """Returns digits with the labels that the network gives them."""
    x, _ = digits(n)
    return x, net(x).argmax(1)


@quick_norms
@pytest.mark.parametrize("net", [LINEAR, pytest.param(digits_cnn(), marks=pytest.mark.slow)], ids=["linear", "cnn"])
def test_honest_models_pass_with_pgd_and_apgd(net, norm):
    x, y = right(net)
    attacks = [PGD(norm=norm, eps=RADII[norm])]
    if norm != "L1":
        attacks.append(APGD(norm=norm, eps=RADII[norm]))
    found = planted(net, x, y, attacks, samples=8)
    assert found.verdict == "pass"
    assert [(share.k, share.n) for share in found.by_attack.values()] == [(8, 8)] * len(attacks)
    assert found.random.k <= 2


@quick_norms
@pytest.mark.parametrize("masked", [
    quantised(),
    Around(digits_cnn(), before=lambda x: x.detach() + 0 * x),
], ids=["eight levels", "detached beside a path of zeros"])  # fmt: skip
def test_a_masked_gradient_fails_with_pgd(masked, norm):
    x, y = right(masked, 6)
    found = planted(masked, x, y, PGD(norm=norm, eps=RADII[norm], steps=10), samples=6)
    assert found.verdict == "fail"
    assert found.success.k <= 1
    assert found.success.n == 6
    assert "gradient is masked" in found.diagnostic.message


def test_rounded_logits_are_part_of_the_model_and_fail():
    masked = Around(LINEAR, after=lambda z: (z * 4).round() / 4)
    x, y = right(masked, 6)
    assert planted(masked, x, y, PGD(eps=0.1, steps=10), samples=6).verdict == "fail"


def test_a_black_box_attack_passes_where_only_the_gradient_is_hidden():
    x, y = right(quantised(), 6)
    found = planted(quantised(), x, y, [PGD(eps=0.1, steps=5), Square(eps=0.1, queries=400)], samples=6)
    assert (found.by_attack["pgd"].k, found.by_attack["square"].k) == (0, 6)
    assert found.verdict == "pass"


def test_an_output_cut_off_from_the_input_is_refused():
    masked = Around(digits_cnn(), before=Tensor.detach)
    with pytest.raises(InvalidEvaluation, match="cut off from the input"):
        planted(masked, *right(masked, 2), PGD(eps=0.1, steps=2))


@norms
def test_the_planted_point_is_on_the_surface_and_of_class_1_and_all_others_of_class_0(norm):
    net, threat = digits_cnn(), Threat(norm=norm, eps=RADII[norm])
    classifier = Classifier(net)
    x, _ = digits(3)
    for id in range(3):
        one = x[id : id + 1]
        with torch.no_grad():
            problem = plant(classifier, one, id, threat, 99, seed=4, batch_size=50)
            assert problem.inner == 99
            assert threat.contains(problem.x_adv, one).all()
            assert float(threat.distance(problem.x_adv, one)) > 0.999 * RADII[norm]
            smaller = dataclasses.replace(threat, eps=0.95 * RADII[norm])
            inner = torch.cat(list(draw(smaller, one, Stream(4, "planted/inner"), id, 99, 50)))
            assert smaller.contains(inner, one).all()
            scores = problem.classifier.logits(torch.cat([one, inner, problem.x_adv]))
        assert scores.argmax(1).tolist() == [0] * 100 + [1]
        # Classes beyond the two are never the answer, and the first gap is the model's own.
        assert scores.shape == (101, 10)
        own = net(one).topk(2).values[0]
        assert float(scores[0, 0] - scores[0, 1]) == pytest.approx(float(own[0] - own[1]), rel=1e-3)


def test_inner_points_keep_a_gap_to_the_surface_and_search_has_the_whole_ball(monkeypatch):
    radii = []

    def spy(threat, *rest):
        radii.append(threat.radius)
        return draw(threat, *rest)

    monkeypatch.setattr(planting, "draw", spy)
    planted(LINEAR, *right(LINEAR, 1), PGD(eps=0.1, steps=2))
    assert radii == [pytest.approx(0.095), 0.1, 0.1]  # inside, on the surface, at random


@given(
    norm=st.sampled_from(list(RADII)),
    eps=st.floats(0.01, 0.9),
    x=st.lists(st.sampled_from([0.0, 0.03, 0.5, 1.0]), min_size=6, max_size=6),
    seed=st.integers(0, 99),
)
def test_surface_points_lie_inside_the_threat_and_as_far_out_as_the_box_lets_them(norm, eps, x, seed):
    threat, x = Threat(norm=norm, eps=eps), torch.tensor([x])
    (towards,) = draw(threat, x, Stream(seed, "test"), 0, 4, 4)
    towards = towards + 1e-3 * (0.5 - x)  # never the input itself
    found = on_surface(threat, x, towards)
    assert threat.contains(found, x.expand_as(found)).all()
    lower, upper = threat.limits(x.expand_as(found))
    cornered = ((found - lower).abs() < 1e-3) | ((found - upper).abs() < 1e-3)
    far = threat.distance(found, x) > 0.999 * eps
    assert (far | cornered.all(1)).all()


def test_the_head_is_the_last_linear_layer_if_the_model_returns_what_it_gives():
    x, _ = digits(2)
    net = digits_cnn()
    last = list(net.modules())[-1]
    for model, head in [
        (net, last),
        (Around(net, after=lambda z: z.softmax(1)), last),
        (Around(net, after=lambda z: z.log_softmax(1)), last),
        (Around(net, after=lambda z: z.round()), None),
        (Around(net, after=lambda z: (z + LINEAR(x[: len(z)])) / 2), None),
        (net.forward, None),
        (
            nn.Sequential(
                nn.Flatten(), nn.Linear(64, 10), nn.Unflatten(1, (10, 1)), nn.Conv1d(10, 10, 1), nn.Flatten()
            ),
            None,
        ),
    ]:
        classifier = Classifier(model)
        assert find_head(classifier, x) is head
        width = 10 if head is None else 128
        assert features(classifier, head, x).shape == (2, width)
    assert not last._forward_hooks
    assert not last._forward_pre_hooks


def test_a_single_logit_has_its_layer_as_head():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    assert find_head(Classifier(net, output="binary_logit"), digits(2)[0]) is net[1]


def test_a_bare_function_is_read_at_its_logits():
    x, y = right(LINEAR, 6)
    found = planted(lambda x: LINEAR(x), x, y, PGD(eps=0.1), samples=6)
    assert (found.success.k, found.success.n) == (6, 6)


def test_trials_do_not_depend_on_batch_size_order_or_company():
    x, y = right(quantised(), 4)
    attack = Noise(eps=0.1, restarts=40)  # finds some and not others
    first = {t.id: t for t in planted(quantised(), x, y, attack, samples=4).trials}
    order = torch.tensor([2, 0, 3])
    again = planted(quantised(), x[order], y[order], attack, samples=4, ids=order, batch_size=7)
    assert {t.id: t for t in again.trials} == {int(id): first[int(id)] for id in order}


def test_the_model_is_left_as_it_was():
    net = smooth_cnn(dtype=torch.float32).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = torch.get_rng_state()
    x = images(4, torch.float32)
    y = smooth_cnn(dtype=torch.float32).eval()(x).argmax(1)
    planted(net, x, y, PGD(eps=0.05, steps=2), samples=2)
    assert all(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(v.equal(before[k]) for k, v in net.state_dict().items())
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize("attack", [
    PGD(eps=0.1, target=7),
    APGD(eps=0.1, loss="dlr", steps=30),
    APGD(eps=0.1, loss="dlr", targets=9, steps=30),
    Foolbox(attack="LinfDeepFoolAttack", eps=0.1),
], ids=lambda a: a.label)  # fmt: skip
def test_targets_and_losses_for_many_classes_work_on_the_planted_problem(attack):
    found = planted(LINEAR, *right(LINEAR, 4), attack)
    assert (found.success.k, found.success.n) == (4, 4)


def test_float64_and_normalised_models_can_be_planted_in():
    net = linear(torch.randn(10, 64, generator=generator(), dtype=torch.float64))
    classifier = Classifier(net, bounds=(0, 255), mean=127.0, std=50.0)
    x = digits(4)[0] * 255
    y = classifier.logits(x).argmax(1)
    assert planted(classifier, x, y, PGD(eps=20)).verdict == "pass"


def test_samples_wrong_from_the_start_are_passed_over():
    x, y = right(LINEAR, 5)
    y[[0, 3]] = (y[[0, 3]] + 1) % 10
    found = planted(LINEAR, x, y, FGSM(eps=0.1), samples=2)
    assert [trial.id for trial in found.trials] == [1, 2]
    with pytest.raises(InvalidEvaluation, match="none of 2; check labels"):
        planted(LINEAR, x[:2], (LINEAR(x[:2]).argmax(1) + 1) % 10, FGSM(eps=0.1))


def test_a_model_that_ignores_its_input_leaves_nothing_to_plant():
    net = Around(LINEAR, before=lambda x: 0 * x + 0.5)
    found = planted(net, *right(net, 3), PGD(eps=0.1, steps=2))
    assert found.verdict == "not run"
    assert found.success.value is None
    assert found.diagnostic.message.endswith("nothing could be planted around 3 of 3 samples")


@pytest.mark.parametrize(("hits", "lucky", "verdict"), [
    (17, 0, "fail"),  # of 21: at most 0.946 with 95 % confidence
    (18, 0, "remark"),
    (19, 0, "remark"),  # 0.905, but chance may be the reason
    (20, 0, "pass"),  # 0.952
    (21, 10, "pass"),
    (21, 11, "remark"),
    (5, 21, "fail"),
])  # fmt: skip
def test_the_verdict_follows_from_the_trials(hits, lucky, verdict):
    trials = tuple(Trial(i, 99, (i < hits, False), i < lucky) for i in range(21))
    found = Planted(("a", "b"), (*trials, Trial(99, 0)))
    assert found.verdict == verdict
    assert (found.success.k, found.random.k, found.by_attack["b"].k) == (hits, lucky, 0)
    check = found.diagnostic
    assert (check.id, check.title, check.value) == ("Q20", "planted adversarial examples are found", hits / 21)
    assert check.message.startswith(
        f"{hits} of 21 planted adversarial examples found, {lucky} by random search; nothing"
    )
    assert (quality(complete([check])) == "unreliable") == (verdict == "fail")


@pytest.mark.parametrize(("attack", "arguments", "text"), [
    (FGSM(eps=0), {}, "got eps 0, samples 12"),
    (FGSM(eps=0.1), {"samples": 0}, "samples 0 and inner 99"),
    (FGSM(eps=0.1), {"inner": 5000}, r"within 15\.\.4095"),
    ([FGSM(eps=0.1), FGSM(eps=0.2)], {}, "expected attacks of one threat"),
    ([], {}, "at least one attack"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_one_line(attack, arguments, text):
    with pytest.raises(ConfigurationError, match=text) as raised:
        planted(LINEAR, *right(LINEAR, 2), attack, **arguments)
    assert "\n" not in str(raised.value)
