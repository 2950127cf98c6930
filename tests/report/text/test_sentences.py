"""The sentences of the report."""

from __future__ import annotations

import dataclasses
import json

import pytest
from report_examples import audit
from report_pages import EXAMPLES

from robustkit.maths.intervals import proportion
from robustkit.report import (
    to_json,
)
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
