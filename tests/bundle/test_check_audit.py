"""What is checked of an audit, and what has to be taken on trust."""

from __future__ import annotations

from bundles import X, Y
from nets import digits_cnn

import robustkit
from robustkit.model.classifier import Classifier


def test_what_nobody_can_check_is_listed(folder):
    trusted = " | ".join(robustkit.verify(folder).trusted)
    for claim in ("cannot be broken", "times", "Q02", "every prediction", "within the threat"):
        assert claim in trusted
    trusted = " | ".join(robustkit.verify(folder, Classifier(digits_cnn()), (X, Y)).trusted)
    assert "cannot be broken" in trusted
    assert "every prediction" not in trusted
