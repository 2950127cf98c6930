"""Protocols, the cascade, early stopping, curves, and verdicts on 8-bit images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, generator, smooth_cnn
from quick import quick

import robustkit
from robustkit.attacks import APGD, FAB, Square
from robustkit.attacks.protocols import PROTOCOLS, Protocol, custom, get_protocol
from robustkit.base.errors import ConfigurationError
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

    @pytest.mark.parametrize("classes", quick(2, 10, slow=(3, 7, 100)))
    @pytest.mark.parametrize("norm", quick("Linf", slow=("L2", "L1")))
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

    @pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 13, 256])
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


@pytest.mark.slow
def test_the_fast_protocol_stays_with_what_is_nearly_broken():
    (x, y), net = digits(60), digits_cnn()
    found = robustkit.evaluate(net, (x, y), get_protocol("fast", norm="Linf", eps=EPS, classes=10))
    attacks = found.protocol.attacks
    clean = margin(net(x).double(), y)[0].detach().numpy()
    nearest, stayed = np.full(len(clean), -np.inf), 0
    for attack, label in zip(attacks, found.ledger.attacks, strict=True):
        steps = found.ledger[f"{label}/steps"]
        attacked = found.ledger[f"{label}/prediction"] >= 0
        if attack.close is not None:
            far = attacked & (nearest < attack.close * clean)
            assert not steps[far].any()
            assert (steps[attacked & ~far] >= min(attack.steps, 10)).all()
            stayed += (attacked & ~far).sum()
        nearest = np.fmax(nearest, found.ledger[f"{label}/margin"])
    assert stayed > 0
    assert (found.ledger["square/queries"][found.ledger.robust] == 300).any()
    told = sentences.method(build_audit(found, Classifier(net, num_classes=10), name="cnn"))
    assert "On near-boundary samples only: APGD-T (near-boundary samples; targets=3), APGD-T" in told
