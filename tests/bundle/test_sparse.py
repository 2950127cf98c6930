"""An audit in L0: reported, restored and verified, and put to the probes."""

from __future__ import annotations

import pytest
import torch
from bundles import Forger, X, Y, quick, write
from nets import digits, digits_cnn

import robustkit
from robustkit.attacks import SigmaZero, SparseRS
from robustkit.report import load
from robustkit.report.text.sentences import perturbation

ATTACKS = (SigmaZero(eps=3, steps=10), SparseRS(eps=3, queries=10))


def test_an_audit_in_l0_holds_and_one_value_too_many_is_refused(tmp_path, monkeypatch):
    quick(monkeypatch)
    folder, model = tmp_path / "mine", robustkit.Classifier(digits_cnn())
    write(folder, ATTACKS)
    (audit,) = load(folder / "report.json").audits
    assert perturbation(audit) == "at most 3 of the 64 pixel values, however far; pixel values range from 0 to 1"
    result = robustkit.verify(folder, model, (X, Y), attack_again=4, seed=0)
    assert result.holds, result.false
    forger = Forger(folder)

    def nudge(tensors):
        row = int((tensors["attack/sigma-zero"] >= 0).argmax())
        point, x = torch.from_numpy(tensors["points"][tensors["attack/sigma-zero"][row]]).view(-1), X[row].view(-1)
        for at in (point == x).nonzero()[:3]:
            point[at] = torch.nextafter(x[at], torch.tensor(0.5))

    forger.points(nudge)
    forger.finish()
    assert "expected one within L0 3" in "\n".join(map(str, robustkit.verify(folder, model, (X, Y)).false))


@pytest.mark.slow
def test_the_probes_of_other_norms_are_made_in_l0_too():
    found = robustkit.evaluate(digits_cnn(), digits(30), ATTACKS, probes=16)
    made = {one.id: one.status for one in found.diagnostics if one.id in ("Q10", "Q11", "Q12", "Q17", "Q18", "Q24")}
    assert len(made) == 6
    assert "not run" not in made.values()
