"""The doctor: what it passes, what it refuses, and what the quality of an evaluation is."""

from __future__ import annotations

import pytest
import torch
from nets import digits, digits_cnn
from probe_examples import by_id
from torch import nn
from twins import Twin

from robustkit.base.errors import InvalidEvaluation
from robustkit.checks.diagnostic import complete, diagnostic, quality
from robustkit.checks.doctor import examine
from robustkit.model.classifier import Classifier


def status(model, x=None, y=None):
    mine, labels = digits(64)
    found = examine(Classifier(model), mine if x is None else x, labels if y is None else y)
    return {item.id: item.status for item in found}


def test_the_doctor_passes_an_honest_model():
    assert set(status(digits_cnn()).values()) == {"pass"}


def test_the_doctor_sees_what_is_wrong_with_a_model():
    assert status(Twin(after=lambda z: z.softmax(1)))["Q06"] == "remark"
    assert status(Twin(before=lambda x: x + torch.rand_like(x)))["Q05"] == "fail"
    assert status(Twin(before=lambda x: (x * 8).round() / 8))["Q07"] == "fail"
    assert status(Twin(before=lambda x: x.detach()))["Q07"] == "fail"
    assert status(Twin().train())["Q03"] == "remark"


def test_a_model_that_looks_at_its_batch_is_refused():
    with pytest.raises(InvalidEvaluation, match=r"Q04 batch independence check: \d+ of 64 predictions change"):
        status(Twin(after=lambda z: (z - z.mean(0)) / (z.std(0, correction=0) + 1e-9)))


@pytest.mark.parametrize(("change", "text"), [
    (lambda x: (x - 0.3) / 0.3, "look normalised"),
    (lambda x: x * 255, "look like grey levels"),
    (lambda x: x.index_fill(0, torch.tensor([3]), float("nan")), "NaN or infinity in row 3"),
    (lambda x: x.byte(), "floating-point"),
    (lambda x: x.repeat(1, 3, 1, 1).permute(0, 2, 3, 1), "channels seem to be last"),
    (lambda x: x[:, 0], "channel axis is missing|shape"),
    (lambda x: x / 255, "scaled twice"),
    (lambda x: x[:0], "at least one input"),
])  # fmt: skip
def test_wrong_inputs_are_refused_with_the_likely_cause(change, text):
    x, y = digits(64)
    with pytest.raises(InvalidEvaluation, match=text):
        examine(Classifier(digits_cnn()), change(x), y)


@pytest.mark.parametrize("labels", [torch.arange(64) + 5, torch.zeros(64), -torch.ones(64, dtype=torch.int64)])
def test_wrong_labels_are_refused(labels):
    with pytest.raises(InvalidEvaluation, match="labels: expected"):
        examine(Classifier(digits_cnn()), digits(64)[0], labels)


def test_quality_follows_from_the_checks():
    def verdict(**statuses):
        base = {f"Q{i:02}": "pass" for i in range(1, 25)}
        return quality(diagnostic(id, 0, "", value, "") for id, value in {**base, **statuses}.items())

    assert verdict() == "reliable"
    assert verdict(Q07="remark") == "reliable with remarks"
    assert verdict(Q11="not run", Q12="not run", Q13="not run") == "reliable with remarks"
    assert verdict(Q11="not run", Q12="not run") == "reliable"
    assert verdict(Q16="fail") == "unreliable"
    assert verdict(Q15="remark") == verdict(Q15="remark", Q06="remark") == "reliable with remarks"
    assert verdict(Q15="remark", Q20="remark") == "unreliable"  # one may be chance
    assert verdict(Q16="fail", Q08="fail") == "invalid"
    assert [item.id for item in complete([])] == [f"Q{i:02}" for i in range(1, 25)]


@pytest.mark.parametrize("status", ["pass", "remark", "fail"])
def test_two_answers_of_a_check_are_told_once_however_often_they_are_put_together(status):
    answers = [diagnostic("Q15", 0, "", "pass", "none; of 4"), diagnostic("Q15", 0.1, "", status, "much nearer on 1")]
    once = complete(answers)
    assert complete([*once, *answers]) == once


class TestInside:
    def test_the_doctor_compares_with_and_without_mean_and_std(self):
        class Own(nn.Module):
            """Normalises its input itself."""

            def __init__(self):
                super().__init__()
                self.net = digits_cnn()

            def forward(self, x):
                return self.net(((x - 0.4) / 0.25) * 0.25 + 0.4)

        x, y = digits(64)
        assert by_id(examine(Classifier(Own().eval()), x, y))["Q01"].status == "pass"
        twice = by_id(examine(Classifier(Own().eval(), mean=0.4, std=0.25), x, y))["Q01"]
        assert twice.status == "fail"
        assert "normalise its input itself" in twice.message
        once = Twin(before=lambda x: x * 0.25 + 0.4).eval()  # trained on inputs that were normalised
        assert by_id(examine(Classifier(once, mean=0.4, std=0.25), x, y))["Q01"].status == "pass"
