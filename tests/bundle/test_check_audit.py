"""What is checked of an audit, and what has to be taken on trust."""

from __future__ import annotations

from bundles import Forger, X, Y, lies
from nets import digits_cnn

import robustkit
from robustkit.data.dataset import Dataset
from robustkit.model.classifier import Classifier
from robustkit.report import load
from robustkit.report.text.sentences import limitations


def test_what_nobody_can_check_is_listed(folder):
    trusted = " | ".join(robustkit.verify(folder).trusted)
    for claim in ("cannot be broken", "times", "Q02", "every prediction", "within the threat"):
        assert claim in trusted
    trusted = " | ".join(robustkit.verify(folder, Classifier(digits_cnn()), (X, Y)).trusted)
    assert "cannot be broken" in trusted
    assert "every prediction" not in trusted


def test_what_stays_on_trust_with_model_and_data_is_on_the_first_page(folder):
    page = " ".join(limitations(load(folder / "report.json").audits[0]))
    first, *trusted = robustkit.verify(folder, digits_cnn(), Dataset(name="data", source=(X, Y))).trusted
    assert first.startswith("that a sample called robust cannot be broken")
    assert "That does not prove that none exists" in page
    for claim in trusted:
        assert claim.partition(":")[0].replace("diagnostics", "checks of the evaluation") in page


def test_saliency_is_drawn_again_where_the_model_is_at_hand(folder):
    on_trust = "pictures of saliency"
    assert on_trust in robustkit.verify(folder).trusted
    assert on_trust in robustkit.verify(folder, None, (X, Y)).trusted
    assert on_trust not in robustkit.verify(folder, digits_cnn(), (X, Y)).trusted
    forger = Forger(folder)

    def swap(audit):
        one, other = audit["gallery"][:2]
        one["saliency"], one["saliency_adversarial"] = other["saliency"], one["saliency"]

    forger.audit(swap)
    forger.finish()
    text = lies(folder)
    assert "report.json: saliency picture of sample" in text
    assert "report.json: saliency picture under attack of sample" in text
    assert lies(folder, model=False) == ""
