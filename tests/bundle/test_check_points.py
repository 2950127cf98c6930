"""Samples and stored points against the data."""

from __future__ import annotations

import numpy as np
from bundles import Forger, X, Y, lies
from nets import digits_cnn


def test_an_adversarial_outside_the_ball(folder):
    forger = Forger(folder)

    def far(tensors):
        place = tensors["attack/fgsm"].max()
        tensors["points"][place] = 1 - tensors["points"][place]

    forger.points(far)
    forger.finish()
    assert "expected one within Linf 0.1 and (0.0, 1.0), got" in lies(folder, model=False)


def test_an_adversarial_a_hair_outside_the_ball_or_the_box(folder):
    forger = Forger(folder)

    def nudge(tensors):
        places = np.unique(tensors["worst"])
        points = tensors["points"]
        on_edge = [p for p in places if (points[p] == 0).any()]
        flat = points[on_edge[0]].reshape(-1)
        flat[np.flatnonzero(flat == 0)[0]] = -1e-38

    forger.points(nudge)
    forger.finish()
    text = lies(folder, model=False)
    assert "expected one within Linf 0.1 and (0.0, 1.0)" in text
    assert "values -9.99999935e-39.." in text


def test_an_adversarial_replaced_by_the_clean_input(folder):
    forger = Forger(folder)
    broken = forger.report.audits[0].gallery[0].id

    def clean(tensors):
        tensors["points"][tensors["worst"][broken]] = X[broken].numpy()

    forger.points(clean)
    forger.finish()
    assert "/distance of sample" in lies(folder, model=False)
    assert "worst_prediction of sample" in lies(folder)


def test_a_changed_label(folder):
    forger = Forger(folder)
    wrong = int(np.flatnonzero(digits_cnn()(X).argmax(1) != Y)[0])

    def relabel(ledger):
        ledger["label"][wrong] = ledger["clean_prediction"][wrong]

    forger.ledger(relabel, derived=False)
    forger.finish()
    assert f"ledger.csv: label of sample {wrong}: expected {int(Y[wrong])}, got " in lies(folder, model=False)
    assert "prediction of sample" in lies(folder, model=False, data=None)  # it was not attacked, though now right


def test_a_changed_input(folder):
    x = X.clone()
    x[7, 0, 0, 0] = 0.5
    assert "the data: expected SHA-256" in lies(folder, model=False, data=(x, Y))
    assert "the data: expected sample 40, got none (and 19 more)" in lies(folder, model=False, data=(X[:40], Y[:40]))
