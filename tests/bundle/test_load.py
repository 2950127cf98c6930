"""Reading a bundle back: the evaluation that was saved, or one line about what is wrong."""

from __future__ import annotations

import json

import pytest
import torch
from bundles import write

import robustkit
from robustkit.base.errors import ConfigurationError


def test_what_is_loaded_is_what_was_saved(tmp_path):
    saved = write(tmp_path / "bundle")
    loaded = robustkit.load_bundle(tmp_path / "bundle").evaluation
    assert str(loaded) == str(saved)
    assert loaded.quality == saved.quality
    assert loaded.ledger.to_csv() == saved.ledger.to_csv()
    for one, other in zip(loaded.adversarial(), saved.adversarial(), strict=True):
        assert torch.equal(one, other)
    assert json.loads(loaded.to_json())["robust_accuracy"]["k"] == saved.robust_accuracy.k


def test_a_changed_bundle_is_refused_in_one_line(tmp_path):
    write(tmp_path / "bundle")
    ledger = tmp_path / "bundle" / "ledger.csv"
    ledger.write_text(ledger.read_text().replace(",0.", ",1.", 1))
    with pytest.raises(ConfigurationError, match=r"expected it as it was written, got ledger.csv: expected SHA-256"):
        robustkit.load_bundle(tmp_path / "bundle")


def test_an_evaluation_saves_itself_and_its_report_verifies(tmp_path, small):
    model, data, evaluation = small
    evaluation.save(tmp_path / "mine", model, name="mine")
    assert robustkit.verify(tmp_path / "mine", model, data).false == ()
    assert robustkit.load_bundle(tmp_path / "mine").report.audits[0].subject.name == "mine"


def test_points_that_nobody_kept_are_asked_for(small):
    model, data, _ = small
    bare = robustkit.evaluate(model, data, "fgsm", eps=0.1)
    with pytest.raises(ConfigurationError, match="evaluate with evidence=True"):
        bare.adversarial()


@pytest.fixture(scope="module")
def small():
    from nets import digits, digits_cnn

    model, data = digits_cnn(), digits(16)
    return model, data, robustkit.evaluate(model, data, "fgsm", eps=0.1, evidence=True)
