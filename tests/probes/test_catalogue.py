"""The probes, each on models that must pass or fail it."""

from __future__ import annotations

import pytest
import torch
from nets import digits, digits_cnn, linear
from probe_examples import EPS, STRONG, audited, by_id
from twins import twins

import robustkit
from robustkit.attacks import APGD, FGSM, PGD, Foolbox, Noise, Square
from robustkit.attacks.threat import Threat
from robustkit.probes.larger_radii import scaled


@pytest.fixture(scope="module")
def honest():
    return audited(digits_cnn(), STRONG)


class TestRadii:
    @pytest.mark.slow
    def test_nothing_moves_at_radius_zero_with_any_kind_of_attack(self):
        attacks = [
            PGD(eps=EPS, steps=3),
            Square(eps=EPS, queries=5),
            Foolbox(attack="LinfPGD", options=(("steps", 3),), eps=EPS),
            FGSM(eps=EPS),
        ]
        assert by_id(audited(digits_cnn(), attacks, n=20, probes=8))["Q10"].status == "pass"

    def test_an_attack_that_moves_at_radius_zero_makes_the_evaluation_invalid(self, monkeypatch):
        original = Threat.verify

        def verify(self, x_adv, x, who):
            original(self, x_adv + 1e-3 if self.eps == 0 else x_adv, x, who)

        monkeypatch.setattr(Threat, "verify", verify)
        found = audited(digits_cnn(), [PGD(eps=EPS, steps=3)], n=20, probes=8)
        assert by_id(found)["Q10"].status == "fail"
        assert found.quality == "invalid"

    def test_samples_that_fall_at_a_smaller_radius_convict_a_weak_attack(self):
        found = audited(digits_cnn(), [Noise(eps=EPS)])
        item = by_id(found)["Q11"]
        assert item.status == "fail"
        assert "use apgd:steps=100" in item.message
        assert found.quality == "unreliable"

    @pytest.mark.slow
    def test_a_hidden_gradient_does_not_lead_through_the_box(self):
        item = by_id(audited(twins()["quantised input"], [PGD(eps=EPS, steps=5)], n=16, probes=8))["Q12"]
        assert (item.status, item.value) == ("fail", 1.0)
        assert "use BPDA" in item.message

    def test_a_constant_model_is_no_case_for_the_box(self):
        weight = torch.zeros(10, 64)
        x, _ = digits(30)
        constant = linear(weight, torch.arange(10.0)).eval()
        found = by_id(robustkit.evaluate(constant, (x, torch.full((30,), 9)), [PGD(eps=EPS, steps=3)], probes=16))
        assert found["Q12"].status == "not run"
        assert "same prediction" in found["Q12"].message
        assert "are the weights loaded" in found["Q12"].message
        assert found["Q07"].status == "fail"

    def test_two_classes_are_enough(self):
        x, _ = digits(40)
        net = linear(torch.randn(2, 64, generator=torch.Generator().manual_seed(0))).eval()
        found = robustkit.evaluate(net, (x, net(x).argmax(1)), [APGD(eps=0.02, steps=20)], probes=16)
        assert found.quality == "reliable"

    def test_radii_are_spelled_like_the_budget(self):
        from fractions import Fraction

        assert [scaled("8/255", Fraction(1, 2)), scaled("1/255", Fraction(1, 4)), scaled(0.3, Fraction(2))] == [
            "4/255",
            "1/1020",
            0.6,
        ]


class TestStrength:
    @pytest.mark.slow
    def test_twice_the_steps_convict_a_short_attack(self):
        item = by_id(audited(digits_cnn(), [PGD(eps=EPS, steps=3, step_size=0.02, random_start=False)]))["Q14"]
        assert item.status == "fail"
        assert "use steps=12" in item.message

    @pytest.mark.slow
    def test_other_classes_in_reach_convict_an_attack_that_did_not_aim(self):
        x, y = digits(100)
        found = by_id(robustkit.evaluate(twins()["saturated sigmoid"], (x, y), [APGD(eps=EPS, steps=20)], probes=100))
        assert found["Q14"].status == "fail"
        assert "use apgd:loss=dlr,targets=9" in found["Q14"].message

    @pytest.mark.slow
    def test_weak_attacks_that_were_left_out_are_made_up_for(self, honest):
        found = by_id(honest)
        assert [found[id].status for id in ("Q13", "Q15", "Q16")] == ["pass"] * 3
        masked = by_id(audited(twins()["false gradient"], [PGD(eps=EPS, steps=5)]))
        assert masked["Q15"].status == "fail"
        assert masked["Q20"].status == "fail"
        assert "square:queries=5000" in masked["Q15"].message

    @pytest.mark.slow
    def test_a_blind_attack_that_comes_much_nearer_convicts_though_nothing_fell(self):
        x, y = digits(60)
        attacks = [APGD(eps=0.08, steps=10), Square(eps=0.08, queries=200)]
        masked, honest = (
            by_id(robustkit.evaluate(net, (x, y), attacks))["Q15"] for net in (twins()["false gradient"], digits_cnn())
        )
        assert masked.status == "fail"
        assert "unbroken samples a random search left < 70 % of the white-box logit margin" in masked.message
        assert honest.status == "pass"
