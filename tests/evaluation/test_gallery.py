"""The gallery: which samples it keeps, and their saliency maps."""

from __future__ import annotations

import dataclasses

import torch
from nets import digits, digits_cnn
from report_examples import report
from torch import nn

import robustkit
from robustkit.attacks import Noise
from robustkit.report import render_html
from robustkit.report.build import build_audit, build_report


def test_it_keeps_one_broken_sample_of_each_class_and_some_that_no_attack_broke(evaluation):
    ledger = evaluation.ledger
    broken = [example for example in evaluation.examples if example.broken]
    assert {e.label for e in broken} == set(ledger["label"][ledger.right & ~ledger.robust].tolist())
    assert len(broken) <= 10
    robust = sorted(int(id) for id in ledger["id"][ledger.robust])[:4]
    assert [e.id for e in evaluation.examples if not e.broken] == robust
    assert all(e.attack and not torch.equal(e.x, e.x_adv) for e in evaluation.examples)


class TestSaliency:
    def test_it_is_the_gradient_of_the_score_of_the_class_answered(self, evaluation):
        example = evaluation.examples[0]
        for at, answer, shown in (
            (example.x, example.clean_prediction, example.saliency),
            (example.x_adv, example.adversarial_prediction, example.saliency_adv),
        ):
            x = at[None].clone().requires_grad_()
            (grad,) = torch.autograd.grad(digits_cnn()(x)[0, answer], x)
            torch.testing.assert_close(shown, grad[0].abs().amax(0, keepdim=True))
        assert not torch.equal(example.saliency, example.saliency_adv)

    def test_it_reaches_the_report_and_is_left_out_of_the_result_hash(self, evaluation):
        one = build_audit(evaluation, robustkit.Classifier(digits_cnn(), num_classes=10), name="cnn")
        assert all(shown.saliency and shown.saliency_adversarial for shown in one.gallery)
        bare = dataclasses.replace(one, gallery=tuple(dataclasses.replace(e, saliency=None) for e in one.gallery))
        assert build_report([bare], title="").result_sha256 == build_report([one], title="").result_sha256
        assert render_html(report(one)).count('alt="saliency of the') == 2 * len(one.gallery)
        assert 'alt="saliency' not in render_html(report(bare))

    def test_a_model_without_gradients_has_none(self):
        class Cut(nn.Module):
            def forward(self, x):
                return digits_cnn()(x.detach())

        x, y = digits(30)
        found = robustkit.evaluate(robustkit.Classifier(Cut()), (x, y), [Noise(eps=0.9)])
        assert found.examples
        assert all(e.saliency is None and e.saliency_adv is None for e in found.examples)

    def test_no_attack_is_charged_for_it(self, evaluation):
        bare = robustkit.evaluate(digits_cnn(), digits(120), evaluation.protocol.attacks, examples=0)
        assert bare.examples == ()
        counts = [[(run.forwards, run.backwards) for run in one.runs] for one in (bare, evaluation)]
        assert counts[0] == counts[1]
