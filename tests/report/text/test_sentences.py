"""The sentences of the report."""

from __future__ import annotations

import dataclasses
import json

import pytest
from report_examples import audit, report
from report_pages import EXAMPLES

from robustkit.maths.intervals import proportion
from robustkit.report import render_html, render_markdown, report_card, to_json
from robustkit.report.exports.exports import model_card
from robustkit.report.exports.gate_markdown import render_gates
from robustkit.report.requirements.gates import Requirement, judged
from robustkit.report.text import sentences


def changed(change) -> str:
    """The JSON of the two-model report after `change` has had its way with it."""
    tree = json.loads(to_json(EXAMPLES["two models"]))
    change(tree)
    return json.dumps(tree)


class TestWords:
    @pytest.mark.parametrize(
        ("norm", "shape", "target", "expected"),
        [
            (
                "Linf",
                (1, 8, 8),
                None,
                "30.0 % (95 % interval 21.9\N{EN DASH}39.6 %) are still classified correctly when an attacker who "
                "knows the model may change each pixel by at most 8/255; pixel values range from 0 to 1. ",
            ),
            (
                "L2",
                (3, 8, 8),
                None,
                "may change the image by at most 0.5 in the L2 norm (the length of the change); "
                "pixel values range from 0 to 1. ",
            ),
            ("Linf", (30,), None, "may change each input value by at most 8/255; values range from 0 to 1. "),
            (
                "Linf",
                (1, 8, 8),
                2,
                "30.0 % (95 % interval 21.9\N{EN DASH}39.6 %) withstand every attack when an attacker "
                "who knows the model and wants the prediction “2” may change each pixel",
            ),
        ],
    )
    def test_the_plain_sentence_fits_norm_data_and_goal(self, norm, shape, target, expected):
        one = audit(norm=norm, shape=shape, target=target, gallery=0)
        worst = dataclasses.replace(one.worst_case, accuracy=proportion(30, 100))
        sentence = sentences.plain_sentence(dataclasses.replace(one, worst_case=worst)).replace(chr(160), " ")
        assert sentence.startswith(f"Of the 100 test {'images' if len(shape) == 3 else 'samples'}, ")
        assert expected in sentence
        assert sentence.endswith("This is an upper bound: a stronger attack can only lower it.")

    def test_limitations_follow_from_what_was_found(self):
        one = audit(defended=True)
        none_left = dataclasses.replace(one.worst_case, accuracy=proportion(0, 500))
        unsteady = dataclasses.replace(one.attacks[0], rechecked_changes=4)
        said = " ".join(sentences.limitations(dataclasses.replace(one, worst_case=none_left, attacks=(unsteady,))))
        assert "no adversarial example was found by these attacks" in said
        assert "adapts to this defence" in said
        assert "up to 0.7\N{NO-BREAK SPACE}% is still compatible" in said  # 1 - 0.025 ** (1 / 500)
        assert "changed the outcome 4 times" in said
        assert "were not run: Q19" in said
        assert "The smallest class has 50 samples" in said
        assert "defended" not in " ".join(sentences.limitations(audit(n=3000)))


class TestBasis:
    """What "reliable" is said of: page 1 names attacks, their strength and the samples."""

    def weak(self, quality="reliable"):
        one = audit(n=48, quality=quality)
        method = dataclasses.replace(one.method, protocol="custom", cascade=False)
        pgd = dataclasses.replace(one.attacks[1], params={"steps": 20, "restarts": 1})
        fgsm = dataclasses.replace(one.attacks[0], params={})
        return dataclasses.replace(one, method=method, attacks=(pgd, fgsm))

    def test_two_attacks_on_48_samples_are_not_reliable_for_more(self):
        weak = self.weak()
        assert sentences.basis(weak) == ("Upper bound from 2 gradient attacks on 48 images; not a standard protocol.")
        assert sentences.attacks_with_strength(weak) == "PGD (20 steps), FGSM"
        assert sentences.reliable(weak) == "reliable for these attacks"
        assert sentences.reliable(self.weak("reliable with remarks")) == "reliable for these attacks with remarks"
        for quality in ("unreliable", "invalid"):
            assert sentences.reliable(self.weak(quality)) == quality

    @pytest.mark.parametrize("protocol", ["autoattack", "autoattack (adapted)", "fast"])
    def test_a_protocol_is_named(self, protocol):
        one = audit(quality="reliable")
        full = dataclasses.replace(one, method=dataclasses.replace(one.method, protocol=protocol))
        assert sentences.basis(full) == (
            f"Upper bound from 5 attacks (4 with gradients, 1 without) on 500 images; protocol {protocol}."
        )
        assert sentences.reliable(full) == "reliable"

    def test_a_protocol_of_ones_own_is_not_a_standard_one(self):
        one = audit(quality="reliable")
        mine = dataclasses.replace(one, method=dataclasses.replace(one.method, protocol="mine:protocol"))
        assert not sentences.is_standard(mine)

    def test_every_view_says_so(self):
        weak = self.weak()
        page, said = render_html(report(weak)), sentences.basis(weak)
        assert '<div class="verdict note">\n      <h3>Quality of the evaluation' in page
        assert '<div class="verdict good">\n      <h3>Quality of the evaluation' not in page
        first = page[: page.index('id="signoff"')]
        for view in (first, render_markdown(report(weak)), report_card(report(weak)), model_card(report(weak))):
            assert said in view.replace("\\", "")
            assert "PGD (20 steps), FGSM" in view
        gated = judged(weak, [Requirement.parse("robust_accuracy>=0.1")])
        assert said in render_gates(report(gated))

    def test_a_full_protocol_is_green(self):
        page = render_html(report(audit(quality="reliable")))
        assert '<div class="verdict good">\n      <h3>Quality of the evaluation' in page
