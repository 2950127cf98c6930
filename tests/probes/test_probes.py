"""The probes: each sees what it is there for, and none of them sees it in an honest model."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, linear, write_digits
from torch import nn
from torch.autograd import grad as grad_by_another_name
from twins import Call, Twin, twins

import robustkit
from robustkit.attacks import APGD, FGSM, PGD, Foolbox, Noise, Square
from robustkit.attacks.threat import Threat
from robustkit.base.errors import ConfigurationError
from robustkit.checks.diagnostic import complete, diagnostic, judged
from robustkit.checks.doctor import checkup, examine
from robustkit.checks.duplicates import Copies
from robustkit.checks.inner_optimization import inner_optimisation
from robustkit.checks.smoothness import smooth
from robustkit.cli import run
from robustkit.data.dataset import batches
from robustkit.loading.data import load_data
from robustkit.maths.intervals import proportion
from robustkit.model.bpda import BPDA
from robustkit.model.classifier import Classifier
from robustkit.probes.experiments import scaled

EPS = 0.1
STRONG = [APGD(eps=EPS, steps=20), APGD(eps=EPS, steps=20, loss="dlr", targets=9)]


def audited(model, attacks, n=40, probes=24, **arguments):
    return robustkit.evaluate(model, digits(n), attacks, probes=probes, **arguments)


class Autocast(nn.Module):
    """A network in bfloat16 inside."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.net(x)


def stairs(x):
    """Returns `x` on steps of 0.01, 0.5 being the edge of one."""
    return (100 * x).floor() / 100


def by_id(found):
    return {item.id: item for item in getattr(found, "diagnostics", found)}


@pytest.fixture(scope="module")
def honest():
    return audited(digits_cnn(), STRONG)


class TestTheWhole:
    def test_an_honest_model_under_a_strong_attack_is_reliable_and_every_strength_check_was_made(self, honest):
        status = {id: item.status for id, item in by_id(honest).items()}
        assert [id for id, value in status.items() if value == "not run"] == ["Q01", "Q19"]
        assert set(status.values()) == {"pass", "not run"}
        assert honest.quality == "reliable"

    def test_without_probes_nothing_is_claimed(self):
        found = audited(digits_cnn(), STRONG, probes=0)
        missing = {id for id, item in by_id(found).items() if item.status == "not run"}
        assert {"Q10", "Q11", "Q12", "Q17", "Q18", "Q20", "Q23"} <= missing
        assert found.quality == "reliable with remarks"
        assert (found.curve, found.probed) == (None, 0)

    def test_they_depend_on_neither_batch_size_nor_order(self, honest):
        x, y = digits(40)
        order = torch.arange(39, -1, -1)
        other = robustkit.evaluate(digits_cnn(), (x[order], y[order], order), STRONG, probes=24, batch_size=7)
        assert sorted(other.curve.ids) == sorted(honest.curve.ids)
        assert [share.k for share in other.curve.accuracy] == [share.k for share in honest.curve.accuracy]
        mine, theirs = by_id(honest), by_id(other)
        assert {id: item.status for id, item in mine.items()} == {id: item.status for id, item in theirs.items()}
        for id in ("Q11", "Q12", "Q17", "Q18", "Q20", "Q23"):
            assert mine[id].value == theirs[id].value, id

    def test_what_was_found_does_not_change_and_the_model_comes_back_as_it_was(self, honest):
        model = digits_cnn()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        bare = audited(model, STRONG, probes=0)
        assert bare.robust_accuracy == honest.robust_accuracy
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())

    def test_the_curve_begins_clean_never_rises_and_ends_with_the_whole_box(self, honest):
        curve = honest.curve
        assert curve.radii == ("0", 0.025, 0.05, 0.1, 0.2, 1.0)
        right = [share.k for share in curve.accuracy]
        assert right == sorted(right, reverse=True)
        assert [share.n for share in curve.accuracy] == [24] * 6
        chosen = np.isin(honest.ledger["id"], curve.ids)
        assert right[0] == int(honest.ledger.right[chosen].sum())
        assert right[3] <= int(honest.ledger.robust[chosen].sum())
        assert right[5] == 0

    def test_fewer_than_none_are_refused(self):
        with pytest.raises(ConfigurationError, match="expected probes >= 0, got -1"):
            audited(digits_cnn(), STRONG, probes=-1)

    def test_progress_reaches_its_total(self):
        seen = []
        audited(digits_cnn(), [FGSM(eps=EPS)], n=20, probes=8, progress=seen.append)
        assert seen[-1].done == seen[-1].total
        assert any(stage.stage == "probe: planted inputs" for stage in seen)

    @pytest.mark.parametrize("attack", [
        PGD(norm="L2", eps=0.5, steps=20),
        APGD(norm="L1", eps=2.0, steps=20),
        PGD(eps=EPS, steps=20, target=3),
        PGD(eps=0.0),
        PGD(eps="16/255", levels=17, steps=5),
    ], ids=["L2", "L1", "targeted", "eps 0", "levels"])  # fmt: skip
    def test_every_threat_can_be_probed(self, attack):
        found = by_id(audited(digits_cnn(), [attack], n=20, probes=8))
        assert not [item for item in found.values() if item.status == "fail" and item.id != "Q11"]
        assert found["Q10"].status == "pass"
        assert found["Q11"].status == ("not run" if attack.eps == 0 else found["Q11"].status)
        assert found["Q12"].status == ("not run" if attack.eps == 0 else "pass")


class TestRadii:
    def test_nothing_moves_at_radius_zero_with_any_kind_of_attack(self):
        attacks = [PGD(eps=EPS, steps=3), Square(eps=EPS, queries=5), Foolbox(attack="LinfPGD", eps=EPS), FGSM(eps=EPS)]
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

    def test_a_hidden_gradient_does_not_lead_through_the_box(self):
        item = by_id(audited(twins()["quantised input"], [PGD(eps=EPS, steps=5)], n=30, probes=16))["Q12"]
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
    def test_twice_the_steps_convict_a_short_attack(self):
        item = by_id(audited(digits_cnn(), [PGD(eps=EPS, steps=3, step_size=0.02, random_start=False)], probes=40))[
            "Q14"
        ]
        assert item.status == "fail"
        assert "use steps=12" in item.message

    def test_other_classes_in_reach_convict_an_attack_that_did_not_aim(self):
        x, y = digits(100)
        found = by_id(robustkit.evaluate(twins()["saturated sigmoid"], (x, y), [APGD(eps=EPS, steps=20)], probes=100))
        assert found["Q14"].status == "fail"
        assert "use apgd:loss=dlr,targets=9" in found["Q14"].message

    def test_weak_attacks_that_were_left_out_are_made_up_for(self, honest):
        found = by_id(honest)
        assert [found[id].status for id in ("Q13", "Q15", "Q16")] == ["pass"] * 3
        masked = by_id(audited(twins()["false gradient"], [PGD(eps=EPS, steps=5)]))
        assert masked["Q15"].status == "fail"
        assert masked["Q20"].status == "fail"
        assert "square:queries=5000" in masked["Q15"].message

    def test_a_blind_attack_that_comes_much_nearer_convicts_though_nothing_fell(self):
        x, y = digits(60)
        attacks = [APGD(eps=0.08, steps=10), Square(eps=0.08, queries=200)]
        masked, honest = (
            by_id(robustkit.evaluate(net, (x, y), attacks))["Q15"] for net in (twins()["false gradient"], digits_cnn())
        )
        assert masked.status == "fail"
        assert "unbroken samples a black-box attack left < 70 % of the white-box logit margin" in masked.message
        assert honest.status == "pass"

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

    def test_foreign_attacks_are_watched_too(self):
        # Steps of twice the radius jump from wall to wall, and foolbox returns wherever the last one ended.
        options = (("steps", 9), ("rel_stepsize", 2.0), ("random_start", False))
        jumping = Foolbox(attack="LinfPGD", eps=0.05, options=options)
        item = by_id(audited(twins()["slow sine"], [jumping], n=60, probes=40))["Q17"]
        assert item.status == "fail"
        assert "foolbox:LinfPGD" in item.message
        calm = Foolbox(attack="LinfPGD", eps=EPS, options=(("steps", 10),))
        assert by_id(audited(digits_cnn(), [calm], n=40, probes=16))["Q17"].status == "pass"

    @pytest.mark.parametrize("name", ["fast sine", "ripples on the logits", "quantised input", "winners take all"])
    def test_a_rough_surface_is_seen(self, name):
        x, y = digits(64)
        assert by_id(checkup(Classifier(twins()[name]), (x, y)))["Q18"].status == "fail"

    @pytest.mark.parametrize(
        ("before", "eps", "value", "status"),
        [
            (nn.Identity(), 1e-3, "gradient 1.00, spread 1.00", "pass"),
            (nn.Identity(), 1e-7, "gradient 1.00", "pass"),  # less than float32 can tell
            (Call(stairs), 1e-3, ", spread 0.03", "fail"),  # one step of 32 pieces crosses one stair at most
            (BPDA(stairs), 1e-3, "gradient 1.00", "pass"),  # declared, and attacked through
        ],
    )
    def test_stairs_are_told_from_slopes(self, before, eps, value, status):
        x, y = torch.full((5, 1, 2, 2), 0.5), torch.zeros(5, dtype=torch.int64)
        model = Classifier(nn.Sequential(before, linear(torch.eye(2, 4), torch.tensor([0.1, 0.0]))).eval())
        with model.frozen():
            found = smooth(model, x, y, torch.arange(5), eps=eps)
        assert str(found.value).endswith(value)
        assert found.status == status

    @pytest.mark.parametrize("eps", [8 / 255, 0.15])
    @pytest.mark.parametrize("wrap", [lambda net: net.bfloat16(), lambda net: net.half(), Autocast])
    def test_rounding_is_not_called_stairs(self, wrap, eps):
        x, y = digits(32)
        model = Classifier(wrap(copy.deepcopy(digits_cnn())).eval())
        with model.frozen():
            found = smooth(model, x, y, torch.arange(32), eps=eps)
        assert found.status == "pass"
        assert "spread" not in str(found.value)

    def test_declared_chance_is_not_called_rough(self):
        noisy = Classifier(Twin(before=lambda x: x + 0.02 * torch.randn_like(x)).eval(), draws=4)
        found = by_id(audited(noisy, [PGD(eps=EPS, steps=3, eot=2)], n=12, probes=6))
        assert [found[id].status for id in ("Q17", "Q18", "Q20")] == ["not run"] * 3
        assert found["Q10"].status == "pass"


class Inner(nn.Module):
    """A linear model with something going on inside."""

    def __init__(self, act):
        super().__init__()
        self.net, self.act = linear(torch.eye(10, 64)), act
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("memory", torch.zeros(64))

    def forward(self, x):
        self.act(self, x)
        return self.net(x)


def steer(model, x, get):
    x = x.detach().requires_grad_()
    get(model.net(x).sum(), x)


class TestInside:
    @pytest.mark.parametrize("act", [
        lambda m, x: steer(m, x, lambda s, v: torch.autograd.grad(s, v)),
        lambda m, x: steer(m, x, lambda s, v: s.backward()),
        lambda m, x: steer(m, x, lambda s, v: torch.autograd.backward(s)),
        lambda m, x: steer(m, x, lambda s, v: grad_by_another_name(s, v)),
        lambda m, x: m.memory.add_(x.mean(0).flatten()),
    ], ids=["grad", "Tensor.backward", "autograd.backward", "imported name", "memory"])  # fmt: skip
    def test_what_goes_on_inside_fails(self, act):
        classifier = Classifier(Inner(act))
        with classifier.frozen():
            assert inner_optimisation(classifier, digits(4)[0]).status == "fail"
        assert not classifier.module.memory.any()

    def test_a_counter_is_a_remark_and_nothing_at_all_a_pass(self):
        doors = torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward
        for act, status in ((lambda m, x: m.count.add_(1), "remark"), (lambda m, x: None, "pass")):
            classifier = Classifier(Inner(act))
            with classifier.frozen():
                assert inner_optimisation(classifier, digits(4)[0]).status == status
        assert doors == (torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward)

    def test_the_doctor_compares_with_and_without_mean_and_std(self):
        class Own(nn.Module):
            """Normalises its input itself."""

            def __init__(self):
                super().__init__()
                self.net = digits_cnn()

            def forward(self, x):
                return self.net(((x - 0.4) / 0.25) * 0.25 + 0.4)

        x, y = digits(64)
        assert by_id(examine(Classifier(Own().eval()), x, y)).get("Q01") is None
        twice = by_id(examine(Classifier(Own().eval(), mean=0.4, std=0.25), x, y))["Q01"]
        assert twice.status == "fail"
        assert "normalise its input itself" in twice.message
        once = Twin(before=lambda x: x * 0.25 + 0.4).eval()  # trained on inputs that were normalised
        assert by_id(examine(Classifier(once, mean=0.4, std=0.25), x, y))["Q01"].status == "pass"


class TestCopies:
    def found(self, x, tuning=None, sha=None, dataset=None):
        copies = Copies()
        classifier = Classifier(digits_cnn())
        for batch in batches((x, torch.zeros(len(x), dtype=torch.int64)), 32):
            copies.add(classifier.accept(batch.x), batch)
        return copies.diagnostic(classifier, tuning, sha)

    def test_digits_hold_none(self):
        x, _ = digits(200)
        train = next(iter(batches(load_data("digits", split="train"), 2000)))
        item = self.found(x, (train.x, train.y))
        assert item.status == "pass"
        assert "none of them in 1297 tuning samples" in item.message

    def test_exact_and_near_copies_are_named(self):
        x, _ = digits(100)
        close = (x[:3] + 0.002).clamp(0, 1)
        item = self.found(torch.cat([x, x[5:7], close]))
        assert item.status == "remark"
        assert item.value == "5 duplicates"
        assert "2 of 105 samples are duplicates" in item.message
        assert "3 of the first 105 near-duplicates" in item.message
        assert "such as 100 of 5" in item.message

    def test_known_samples_fail(self):
        x, _ = digits(100)
        others = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        tuning = torch.cat([others, x[10:14], (x[20:21] + 0.002).clamp(0, 1)])
        item = self.found(x, (tuning, torch.zeros(55, dtype=torch.int64)))
        assert item.status == "fail"
        assert "5 are in the 55 tuning samples (10, 11, 12" in item.message

    def test_a_hash_tells_the_whole_set_only(self):
        x, y = digits(60)
        plain = audited(digits_cnn(), [FGSM(eps=EPS)], n=60, probes=0)
        for sha, status in ((plain.data_sha256, "fail"), ("0" * 64, "pass")):
            again = robustkit.evaluate(digits_cnn(), (x, y), [FGSM(eps=EPS)], tuning=sha)
            assert by_id(again)["Q23"].status == status
        with pytest.raises(ConfigurationError, match="tuning data: expected data or the 64 hexadecimal"):
            self.found(x, "train")


class TestVerdicts:
    def test_the_worse_of_two_answers_counts_and_two_passes_are_both_told(self):
        def check(status, message):
            return diagnostic("Q14", 0, "", status, message)

        def told(*found):
            item = by_id(complete(found))["Q14"]
            return item.status, item.message

        assert told(check("fail", "a"), check("pass", "b")) == ("fail", "a")
        assert told(check("not run", "a"), check("pass", "b")) == ("pass", "b")
        assert told(check("pass", "a"), check("pass", "b")) == ("pass", "a; b")
        assert told(check("fail", "a"), check("fail", "b")) == ("fail", "b")

    def test_one_sample_is_chance_and_many_are_not(self):
        assert [judged(proportion(k, 64), 0.002, 0.01) for k in (0, 1, 2, 4)] == ["pass", "pass", "remark", "fail"]
        assert judged(proportion(0, 0), 0.0, 0.0) == "pass"


AUDIT = ["audit", "cnn", "--weights", "cnn.safetensors", "--data", "digits.npz", "--eps", "0.1", "--attack"]


@pytest.fixture
def case(in_folder: Path) -> Path:
    write_digits(in_folder, 40)
    return in_folder


class TestCommandLine:
    def test_audit_probes_by_default_and_its_curve_is_in_the_report(self, case, capsys):
        assert run([*AUDIT, "apgd:steps=20", "--attack", "apgd:steps=20,loss=dlr,targets=9"]) == 0
        assert "curve of 40 samples" in capsys.readouterr().out
        (audit,) = json.loads(Path("robustkit-report/report.json").read_text())["audits"]
        assert [point["eps"] for point in audit["curve"]["points"]] == ["0", "0.025", "0.05", "0.1", "0.2", "1"]
        assert audit["verdict"]["quality"] == "reliable"
        assert "40 samples" in Path("robustkit-report/report.html").read_text()

    def test_what_failed_is_named_in_one_line(self, case, capsys):
        assert run([*AUDIT, "noise", "--tuning-data", "digits.npz"]) == 3
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "Q11 fail (accuracy falls as the radius grows)" in error
        assert "Q23 fail (audit data not used for tuning)" in error
        assert run([*AUDIT, "noise", "--probes", "0"]) == 0

    def test_the_doctor_makes_every_check_that_needs_no_attack(self, case, capsys):
        assert run(["doctor", *AUDIT[1:6], "--tuning-data", "0" * 64]) == 0
        out = capsys.readouterr().out
        for id in ("Q02", "Q03", "Q04", "Q05", "Q06", "Q07", "Q18", "Q21", "Q22", "Q23"):
            assert id in out


def test_a_call_is_a_module():
    assert Call(torch.relu)(-torch.ones(1)) == 0
