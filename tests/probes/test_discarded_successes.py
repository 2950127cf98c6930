"""No successful point may be discarded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from nets import digits, digits_cnn
from probe_examples import EPS, audited, by_id
from twins import twins

import robustkit
from robustkit.attacks import FGSM, PGD, Foolbox


class TestStrength:
    def test_a_success_dropped_on_the_way_is_seen(self):
        @dataclass(frozen=True, kw_only=True)
        class Forgetful(PGD):
            """Looks at the adversarial point and hands the clean one back."""

            def start(self, problem, rows):
                wrong = replace(FGSM(eps=self.eps), eps=self.eps).start(problem, rows)
                problem.logits(rows, wrong.x_adv)
                return rows.having(x_adv=rows.x)

            @property
            def steps_per_start(self):
                return 0

        x, y = digits(40)
        found = by_id(robustkit.evaluate(digits_cnn(), (x, y), [Forgetful(eps=0.2)], probes=16))["Q17"]
        assert found.status == "fail"
        assert found.value > 0
        assert "use pgd or apgd" in found.message

    @pytest.mark.slow
    def test_foreign_attacks_are_watched_too(self):
        # Steps of twice the radius jump from wall to wall, and foolbox returns wherever the last one ended.
        options = (("steps", 9), ("rel_stepsize", 2.0), ("random_start", False))
        jumping = Foolbox(attack="LinfPGD", eps=0.05, options=options)
        item = by_id(audited(twins()["slow sine"], [jumping], n=60, probes=40))["Q17"]
        assert item.status == "fail"
        assert "foolbox:LinfPGD" in item.message
        calm = Foolbox(attack="LinfPGD", eps=EPS, options=(("steps", 10),))
        assert by_id(audited(digits_cnn(), [calm], n=40, probes=16))["Q17"].status == "pass"
