"""Protocols, the cascade, early stopping, curves, and verdicts on 8-bit images."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, generator, linear, smooth_cnn
from torch.utils.data import DataLoader, TensorDataset

import robustkit
from robustkit.attacks import APGD, FAB, FGSM, FMN, PGD, Noise, Square, Transfer
from robustkit.attacks.protocols import PROTOCOLS, Protocol, custom, get_protocol
from robustkit.attacks.threat import Threat
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.dataset import Dataset, batches, shuffled
from robustkit.evaluation.curve import minimal_distances, security_curve
from robustkit.evaluation.stopping import Pace
from robustkit.maths.intervals import confidence_sequence
from robustkit.maths.losses import margin
from robustkit.model.classifier import Classifier
from robustkit.report.build import build_audit
from robustkit.report.text import sentences

EPS = 0.1


def short(norm="Linf") -> Protocol:
    """Returns a cascade that resembles AutoAttack at a hundredth of its cost."""
    common = {"norm": norm, "eps": EPS}
    attacks = (
        APGD(**common, steps=5),
        APGD(**common, steps=5, loss="dlr", targets=2),
        FAB(**common, steps=5, targets=2),
        Square(**common, queries=20),
    )
    return Protocol("autoattack", attacks)


class TestNames:
    def test_the_standard_protocol_is_the_published_one(self):
        attacks = get_protocol("autoattack", norm="Linf", eps="8/255", classes=10, strict=True).attacks
        assert [attack.label for attack in attacks] == ["apgd-ce", "apgd-t", "fab-t", "square"]
        assert attacks[0] == APGD(steps=100, restarts=1, loss="ce")
        assert attacks[1] == APGD(steps=100, restarts=1, loss="dlr", targets=9)
        assert attacks[2] == FAB(steps=100, restarts=1, targets=9, alpha_max=0.1, eta=1.05, beta=0.9)
        assert attacks[3] == Square(queries=5000, restarts=1, p_init=0.8, rescale_schedule=False, loss="margin")

    def test_plus_and_rand_are_the_published_ones(self):
        plus = get_protocol("autoattack-plus", norm="L2", eps=0.5, classes=10, strict=True).attacks
        assert [(attack.label, attack.restarts) for attack in plus] == [
            *(("apgd-ce", 5), ("apgd-dlr", 5), ("fab", 5)),
            *(("square", 1), ("apgd-t", 1), ("fab-t", 1)),
        ]
        rand = get_protocol("autoattack-rand", norm="Linf", eps=0.5, classes=10, strict=True).attacks
        assert [(attack.label, attack.eot, attack.restarts) for attack in rand] == [
            ("apgd-ce", 20, 1),
            ("apgd-dlr", 20, 1),
        ]

    def test_more_classes_than_ten_change_nothing(self):
        for name in PROTOCOLS:
            ten, many = (get_protocol(name, norm="Linf", eps=0.1, classes=k, strict=True) for k in (10, 1000))
            assert ten == many
            assert ten.label == name

    @pytest.mark.parametrize("classes", [2, 3, 4, 7, 9])
    def test_fewer_classes_are_adapted_and_said_to_be(self, classes):
        found = get_protocol("autoattack", norm="Linf", eps=0.1, classes=classes)
        assert found.attacks[1].targets == found.attacks[2].targets == classes - 1
        assert found.label == "autoattack (adapted)"
        assert f"{classes - 1} targets" in found.changes[0]
        assert ("targeted DLR" in found.changes[-1]) == (classes < 4)
        with pytest.raises(ConfigurationError, match=f"expected a model of at least 10 classes, got {classes}"):
            get_protocol("autoattack", norm="Linf", eps=0.1, classes=classes, strict=True)

    def test_two_classes_have_no_dlr_loss(self):
        losses = [a.loss for a in get_protocol("autoattack-plus", norm="L2", eps=1, classes=2).attacks[:2]]
        assert losses == ["ce", "margin"]
        assert get_protocol("autoattack-rand", norm="L2", eps=1, classes=3).changes == ()
        assert get_protocol("autoattack-rand", norm="L2", eps=1, classes=2).changes

    def test_an_unknown_name_gets_the_nearest(self):
        with pytest.raises(ConfigurationError, match="got 'autoatack'; did you mean 'autoattack'"):
            get_protocol("autoatack", norm="Linf", eps=0.1, classes=10)

    def test_the_fingerprint_changes_with_every_setting_and_the_precision(self):
        one = get_protocol("autoattack", norm="Linf", eps="8/255", classes=10)
        other = dataclasses.replace(one, attacks=(*one.attacks[:3], Square(eps="8/255", queries=4999)))
        prints = [
            one.fingerprint(),
            other.fingerprint(),
            one.fingerprint(torch.float16),
            custom(one.attacks).fingerprint(),
        ]
        assert len(set(prints)) == 4
        assert all(len(text) == 12 for text in prints)
        assert one.fingerprint() == get_protocol("autoattack", norm="Linf", eps="8/255", classes=10).fingerprint()

    @pytest.mark.parametrize("classes", [2, 3, 7, 10, 100])
    @pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
    def test_every_attack_of_every_protocol_runs_for_every_number_of_classes(self, norm, classes):
        net = smooth_cnn(classes, dtype=torch.float32)
        x = torch.rand(3, 1, 6, 6, generator=generator(1))
        y = net.eval()(x).argmax(1)
        for name in PROTOCOLS:
            for attack in get_protocol(name, norm=norm, eps=0.01, classes=classes).attacks:
                brief = {name: 3 for name in ("steps", "queries") if hasattr(attack, name)}
                found = dataclasses.replace(attack, **brief, restarts=1, eot=min(attack.eot, 2))(net, x, y)
                assert bool(((net(found.x_adv).argmax(1) != y) == found.success).all())


class TestCascade:
    def test_the_worst_case_is_that_of_attacks_on_their_own(self):
        data = digits(80)
        cascade = robustkit.evaluate(digits_cnn(), data, short())
        alone = robustkit.evaluate(digits_cnn(), data, short().attacks)
        # What an attack finds for a sample does not depend on the others, so the cascade only saves work.
        np.testing.assert_array_equal(cascade.ledger.robust, alone.ledger.robust)
        assert sum(run.forwards for run in cascade.runs) < sum(run.forwards for run in alone.runs)

    def test_broken_samples_are_spared_and_accuracies_fall(self):
        found = robustkit.evaluate(digits_cnn(), digits(80), short())
        ledger, labels = found.ledger, [run.label for run in found.runs]
        standing = ledger.right
        for label in labels:
            np.testing.assert_array_equal(ledger[f"{label}/prediction"] >= 0, standing)
            standing = standing & ledger.right_under(label)
            assert found.accuracy(label).k == standing.sum()
        assert found.robust_accuracy.k == standing.sum()
        assert sum(found.attack_success(label).k for label in labels) == found.attack_success().k > 0

    @pytest.mark.parametrize("size", [1, 13, 256])
    def test_batch_size_and_order_do_not_matter(self, size):
        x, y = (part[20:50] for part in digits(60))
        one = robustkit.evaluate(digits_cnn(), (x, y), short(), batch_size=17)
        order = torch.randperm(30, generator=generator(3))
        two = robustkit.evaluate(digits_cnn(), (x[order], y[order], order), short(), batch_size=size)
        for column in ("label", *(f"{run.label}/prediction" for run in one.runs), "worst_attack"):
            np.testing.assert_array_equal(one.ledger[column][order.numpy()], two.ledger[column], err_msg=column)
        assert one.fingerprint == two.fingerprint

    def test_two_shards_make_the_whole(self):
        x, y = digits(60)
        ids = torch.arange(60)
        whole = robustkit.evaluate(digits_cnn(), (x, y, ids), short())
        parts = [robustkit.evaluate(digits_cnn(), (x[s], y[s], ids[s]), short()) for s in (slice(0, 23), slice(23, 60))]
        for column in ("id", "worst_prediction", *(f"{run.label}/steps" for run in whole.runs)):
            merged = np.concatenate([part.ledger[column] for part in parts])
            np.testing.assert_array_equal(whole.ledger[column], merged, err_msg=column)


def test_the_fast_protocol_stays_with_what_is_nearly_broken():
    (x, y), net = digits(60), digits_cnn()
    found = robustkit.evaluate(net, (x, y), get_protocol("fast", norm="Linf", eps=EPS, classes=10))
    labels = ["apgd-ce", "apgd-t", "fab-t", "apgd-ce-close", "fab-t-close", "square", "fgsm", "noise"]
    assert list(found.ledger.attacks) == labels
    nearest = np.max([found.ledger[f"{label}/margin"] for label in labels[:3]], axis=0)
    left = found.ledger.right & (nearest < 0)
    clean = margin(net(x).double(), y)[0].detach().numpy()
    far = left & (nearest < 0.1 * clean)
    assert 0 < far.sum() < left.sum()
    for label in labels[3:5]:
        steps = found.ledger[f"{label}/steps"]
        assert (steps[far] == 1).all()
        assert (steps[left & ~far] > 90).all()
    assert (found.ledger["square/queries"][far] == 1000).any()
    told = sentences.method(build_audit(found, Classifier(net, num_classes=10), name="cnn"))
    assert "On all but samples that are nearly broken, apgd-ce-close and fab-t-close gave up after one look." in told


class TestEarlyStop:
    def test_it_stops_as_soon_as_the_interval_is_narrow_enough(self):
        found = robustkit.evaluate(digits_cnn(), digits(297), [FGSM(eps=EPS)], until=0.12)
        low, high = found.anytime_interval
        assert (high - low) / 2 <= 0.12
        assert found.robust_accuracy.n < 297 == found.planned
        assert "within 12 points" in found.stopped
        assert confidence_sequence(found.robust_accuracy.k, found.robust_accuracy.n) == found.anytime_interval

    def test_samples_come_in_random_order_with_their_own_ids(self):
        x, y = digits(100)
        found = robustkit.evaluate(digits_cnn(), (x, y), [Noise(eps=EPS)], until=0.15)
        ids = found.ledger["id"]
        assert len(ids) < 100
        assert not np.array_equal(ids, np.sort(ids))
        np.testing.assert_array_equal(found.ledger["label"], y.numpy()[ids])
        whole = robustkit.evaluate(digits_cnn(), (x, y), [Noise(eps=EPS)])
        np.testing.assert_array_equal(found.ledger["noise/margin"], whole.ledger["noise/margin"][ids])

    def test_without_reason_to_stop_every_sample_is_seen(self):
        found = robustkit.evaluate(digits_cnn(), digits(50), [FGSM(eps=EPS)], until=0.001)
        assert found.robust_accuracy.n == 50
        assert found.stopped is None

    def test_the_budget_is_kept_by_taking_only_what_fits(self, monkeypatch):
        now = iter(range(10_000))
        monkeypatch.setattr("time.perf_counter", lambda: next(now))
        pace = Pace(budget=100)
        assert pace.next(0, 0, first=16, most=64) == 16
        pace._start = next(now) - 10  # ten seconds for the first 16: at most 128 more in the 80 or so left
        assert 0 < pace.next(8, 16, first=16, most=64) <= 16
        pace._start = next(now) - 98
        assert pace.next(8, 64, first=16, most=64) == 0 or pace.reason is None
        pace._start = next(now) - 200
        assert pace.next(8, 64, first=16, most=64) == 0
        assert pace.reason == "the budget of 100 s was used up"

    @pytest.mark.parametrize(("arguments", "text"), [({"until": 0.7}, "half-width"), ({"budget": 0}, "seconds > 0")])
    def test_senseless_limits_are_refused(self, arguments, text):
        with pytest.raises(ConfigurationError, match=text):
            robustkit.evaluate(digits_cnn(), digits(20), [FGSM(eps=EPS)], **arguments)

    @pytest.mark.parametrize(
        "make",
        [
            lambda x, y: (x, y),
            lambda x, y: TensorDataset(x, y),
            lambda x, y: [(x[i], int(y[i])) for i in range(len(y))],
        ],
        ids=["arrays", "map", "list"],
    )
    def test_whatever_can_be_indexed_is_shuffled(self, make):
        x, y = digits(30)
        mixed = next(batches(shuffled(Dataset(name="d", source=make(x, y)), seed=1), 30))
        assert mixed.ids.tolist() != list(range(30))
        assert sorted(mixed.ids.tolist()) == list(range(30))
        assert torch.equal(mixed.x, x[mixed.ids])
        assert torch.equal(mixed.y, y[mixed.ids])

    def test_what_cannot_be_indexed_comes_as_it_is_with_a_note(self):
        x, y = digits(30)
        loader = DataLoader(TensorDataset(x, y), batch_size=7)
        for source in (loader, [(x[:10], y[:10]), (x[10:], y[10:])]):
            mixed = shuffled(Dataset(name="d", source=source), seed=1)
            assert mixed.source is source
            assert "in the order given" in mixed.notes[-1]


class TestCurve:
    def test_it_is_what_each_radius_gives_alone_and_never_rises(self):
        x, y = digits(60)
        radii = ("1/10", 0.02, 0.06, 0.2)
        attacks = [PGD(steps=10)]
        found = security_curve(digits_cnn(), (x, y), attacks, radii)
        assert found.radii == (0.02, 0.06, "1/10", 0.2)
        shares = [point.value for point in found.accuracy]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > shares[-1]
        broken = np.zeros(60, dtype=bool)
        for eps, share in zip(found.radii, found.accuracy, strict=True):
            alone = robustkit.evaluate(digits_cnn(), (x, y), [PGD(steps=10, eps=eps)])
            broken |= ~alone.ledger.robust
            assert share.k == 60 - broken.sum()

    def test_a_broken_sample_is_not_attacked_again(self):
        x, y = digits(60)
        classifier = Classifier(digits_cnn())
        security_curve(classifier, (x, y), [PGD(steps=10)], [0.3])
        once, classifier = classifier.tally.backwards, Classifier(digits_cnn())
        security_curve(classifier, (x, y), [PGD(steps=10)], [0.3, 0.31, 0.32, 0.33])
        assert classifier.tally.backwards < 1.5 * once

    def test_equal_radii_and_none_are_refused(self):
        for radii in ([], [0.1, "1/10"]):
            with pytest.raises(ConfigurationError, match="distinct radii"):
                security_curve(digits_cnn(), digits(5), [PGD()], radii)

    @pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
    def test_minimal_distances_are_those_of_the_closed_form(self, norm):
        weight = torch.randn(1, 20, dtype=torch.float64, generator=generator(2))
        net = linear(torch.cat([-weight, weight]))
        x = 0.5 + 0.01 * torch.randn(12, 20, dtype=torch.float64, generator=generator(3))
        x = x - 0.03 * weight * (weight @ (x - 0.5).T).T  # close to the boundary, which goes through the middle
        net[1].bias.data = net[1].weight.data @ torch.full((20,), -0.5, dtype=torch.float64)
        y = net(x).argmax(1)
        dual = {"Linf": 1, "L2": 2, "L1": math.inf}[norm]
        exact = (weight @ (x - 0.5).T).abs().squeeze(0) / weight.norm(dual)
        y[0] = 1 - y[0]
        found = minimal_distances(net, (x, y), [FMN(norm=norm, eps="inf"), FAB(norm=norm, eps="inf")])
        assert found.values[0] == 0
        ratio = found.values[1:] / exact[1:].numpy()
        assert ratio.min() >= 1 - 1e-9
        assert ratio.max() <= 1.05
        assert found.accuracy(float(found.values[1:].max())).k == 0
        assert found.quantile(0.5) == np.sort(found.values)[6]

    def test_only_minimal_attacks_of_one_norm_measure_distances(self):
        for attacks in ([PGD(eps=0.1)], [FMN(norm="L2", eps="inf"), FMN(norm="L1", eps="inf")]):
            with pytest.raises(ConfigurationError, match="minimal attacks of one norm"):
                minimal_distances(digits_cnn(), digits(5), attacks)


class TestLevels:
    def test_snapping_stays_inside_and_on_the_grid(self):
        for norm, eps in (("Linf", "8/255"), ("L2", 0.5), ("L1", 3.0)):
            threat = Threat(norm=norm, eps=eps, levels=256)
            x = torch.randint(256, (40, 1, 5, 5), generator=generator(1)).float() / 255
            lower, upper = threat.limits(x)
            far = x + torch.randn(x.shape, generator=generator(2))
            found = threat.snap(threat.project(far, x, lower, upper), x)
            threat.verify(found, x, "snap")
            assert torch.equal((found * 255).round() / 255, found)
            assert bool((threat.distance(found, x) > 0.5 * threat.radius).all())

    def test_eight_levels_of_linf_are_eight_levels(self):
        threat = Threat(eps="8/255", levels=256)
        x = (torch.arange(256) / 255).view(1, -1)
        lower, upper = threat.limits(x)
        assert torch.equal((upper * 255).round(), (torch.arange(256) + 8).clamp(max=255).float().view(1, -1))
        assert torch.equal((lower * 255).round(), (torch.arange(256) - 8).clamp(min=0).float().view(1, -1))
        threat.verify(upper, x, "limits")

    def test_inputs_between_the_levels_are_refused(self):
        with pytest.raises(InvalidEvaluation, match="on a grid of 256 levels"):
            PGD(levels=256)(digits_cnn(), digits(4)[0] * 0.9, digits(4)[1])

    @pytest.mark.parametrize("attack", [PGD(eps="8/255", levels=256), APGD(eps="8/255", steps=20, levels=256)])
    def test_a_search_on_the_levels_finds_points_that_can_be_stored(self, attack):
        x, y = stored(40)
        found = attack(digits_cnn(), x, y)
        assert torch.equal((found.x_adv * 255).round() / 255, found.x_adv)
        assert bool(((digits_cnn()(found.x_adv).argmax(1) != y) == found.success).all())

    def test_the_evaluation_says_what_rounding_leaves(self):
        x, y = stored(60)
        found = robustkit.evaluate(digits_cnn(), (x, y), [FGSM(eps="16/255"), PGD(eps="16/255", steps=10)])
        assert found.on_grid
        assert found.robust_accuracy_stored.k >= found.robust_accuracy.k
        on_levels = robustkit.evaluate(digits_cnn(), (x, y), [PGD(eps="16/255", steps=10, levels=256)])
        assert on_levels.robust_accuracy_stored.k == on_levels.robust_accuracy.k < on_levels.clean_accuracy.k
        assert robustkit.evaluate(digits_cnn(), digits(10), [FGSM(eps=EPS)]).robust_accuracy_stored is None


def stored(n: int):
    """Returns digits as 8-bit images."""
    x, y = digits(n)
    return (x * 255).round() / 255, y


class TestTransfer:
    def test_it_breaks_the_target_without_asking_for_gradients(self):
        x, y = digits(60)
        net = digits_cnn()
        target = Classifier(lambda batch: net((batch * 16).round() / 16).detach())
        found = Transfer(surrogate=Classifier(net), eps=0.2)(target, x, y)
        assert float(found.success.double().mean()) > 0.5
        assert target.tally.backwards == 0
        assert target.tally.forwards < 3 * 60

    def test_its_settings_name_the_surrogate_and_the_attack(self):
        attack = Transfer(surrogate=Classifier(digits_cnn()), eps=0.2, attack=PGD(eps=0.2, steps=3))
        assert attack.settings()["attack.steps"] == 3
        assert attack.settings()["surrogate"] == "Sequential"

    def test_a_missing_surrogate_and_another_budget_are_refused(self):
        with pytest.raises(ConfigurationError, match="expected a surrogate"):
            Transfer(eps=0.1)
        with pytest.raises(ConfigurationError, match=r"expected an attack within Linf 0.1, got Linf 0.2"):
            Transfer(surrogate=Classifier(digits_cnn()), eps=0.1, attack=PGD(eps=0.2))
