"""An audit in L0 or of patches: reported, restored and verified, and put to the probes."""

from __future__ import annotations

import pytest
import torch
from bundles import Forger, X, Y, quick, write
from nets import digits, digits_cnn

import robustkit
from robustkit.attacks import Patch, SigmaZero, SparseRS
from robustkit.report import load
from robustkit.report.text.sentences import perturbation

ATTACKS = (SigmaZero(eps=3, steps=10), SparseRS(eps=3, queries=10))


@pytest.mark.parametrize(
    ("attacks", "said"),
    [
        (ATTACKS, "at most 3 of the 64 pixel values, however far"),
        ((Patch(eps=3, steps=3, restarts=1),), "the pixels of one square of 3 by 3, anywhere, however far"),
    ],
    ids=["L0", "patch"],
)
def test_an_audit_that_counts_holds_and_what_is_too_many_is_refused(tmp_path, monkeypatch, attacks, said):
    quick(monkeypatch)
    folder, model = tmp_path / "mine", robustkit.Classifier(digits_cnn())
    write(folder, attacks)
    (audit,) = load(folder / "report.json").audits
    assert perturbation(audit) == f"{said}; pixel values range from 0 to 1"
    result = robustkit.verify(folder, model, (X, Y), attack_again=4, seed=0)
    assert result.holds, result.false
    forger = Forger(folder)

    def nudge(tensors):
        kept = tensors[f"attack/{attacks[0].name}"]
        row = int((kept >= 0).argmax())
        point, x = torch.from_numpy(tensors["points"][kept[row]]).view(-1), X[row].view(-1)
        same = (point == x).nonzero().flatten()
        for at in (same[0], same[30], same[-1]):
            point[at] = torch.nextafter(x[at], torch.tensor(0.5))

    forger.points(nudge)
    forger.finish()
    assert f"expected one within {attacks[0].norm} 3" in "\n".join(
        map(str, robustkit.verify(folder, model, (X, Y)).false)
    )


@pytest.mark.slow
@pytest.mark.parametrize("attacks", [ATTACKS, Patch(eps=3, steps=5)], ids=["L0", "patch"])
def test_the_probes_of_other_norms_are_made_here_too(attacks):
    found = robustkit.evaluate(digits_cnn(), digits(30), attacks, probes=16)
    made = {one.id: one.status for one in found.diagnostics if one.id in ("Q10", "Q11", "Q12", "Q17", "Q18", "Q24")}
    assert len(made) == 6
    assert "not run" not in made.values()
