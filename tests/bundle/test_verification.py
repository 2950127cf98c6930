"""Verifying a bundle: what was forged is named, however careful the forger, and what is intact is never refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from bundles import ATTACKS, EPS, Forger, Mine, X, Y, lies, noisy, write
from nets import digits_cnn, linear, smooth_cnn
from quick import quick

import robustkit
from robustkit.attacks import APGD, FAB, FGSM, PGD, Foolbox, Noise, Square, Transfer
from robustkit.attacks.protocols import Protocol
from robustkit.base.errors import ConfigurationError
from robustkit.bundle import save_bundle
from robustkit.data.dataset import Dataset
from robustkit.model.classifier import Classifier
from robustkit.report.build import build_audit, build_report

STORED = (X * 255).round() / 255
NAMES = [f"scan {i:02}" for i in range(60)]
STRONG = (APGD(eps=EPS, steps=5), APGD(eps=EPS, steps=5, loss="dlr", targets=3), Square(eps=EPS, queries=20))


INTACT = {
    "a list of attacks": {"attacks": ATTACKS},
    "a cascade": {"attacks": Protocol("fast", STRONG, ("it was made shorter",))},
    "targeted": {"attacks": (FGSM(eps=EPS, target=3), PGD(eps=EPS, steps=3, target=3))},
    "a targeted cascade": {"attacks": Protocol("mine", (FGSM(eps=EPS, target=3), PGD(eps=EPS, steps=3, target=3)))},
    "L2": {"attacks": (PGD(norm="L2", eps=0.5, steps=5), FAB(norm="L2", eps=0.5, steps=3))},
    "L1": {"attacks": (PGD(norm="L1", eps="3/2", steps=5), Noise(norm="L1", eps="3/2"))},
    "images": {"attacks": (PGD(eps=EPS, steps=3), FGSM(eps=EPS)), "data": (STORED, Y)},
    "images on their levels": {"attacks": (PGD(eps=EPS, steps=3, levels=256), FGSM(eps=EPS)), "data": (STORED, Y)},
    "no budget": {"attacks": (PGD(eps=0, steps=1),)},
    "an adapter and a transfer": {
        "attacks": (
            Foolbox(attack="LinfPGD", eps=EPS, options=(("steps", 3),)),
            Transfer(surrogate=Classifier(digits_cnn()), eps=EPS),
        )
    },
    "namesakes": {"attacks": (PGD(eps=EPS, steps=2), PGD(eps=EPS, steps=4))},
    "an attack of one's own": {"attacks": (Mine(eps=EPS), PGD(eps=EPS, steps=3))},
    "a random model with draws": {
        "attacks": (PGD(eps=EPS, steps=2, eot=2), FGSM(eps=EPS)),
        "model": Classifier(noisy(0.02), draws=3),
    },
    "a random model judged once": {"attacks": (FGSM(eps=EPS),), "model": noisy(0.02)},
    "stopped early": {"attacks": (PGD(eps=EPS, steps=3),), "until": 0.2, "batch_size": 16},
    "limited": {"attacks": (FGSM(eps=EPS),), "limit": 17},
    "named samples": {
        "attacks": (FGSM(eps=EPS),),
        "data": [(x, int(y), n) for x, y, n in zip(X, Y, NAMES, strict=True)],
    },
    "off the 8-bit grid": {"attacks": (FGSM(eps=EPS), PGD(eps=EPS, steps=3)), "data": (X * 0.9 + 0.0123, Y)},
    "only in part on the grid": {
        "attacks": (FGSM(eps=EPS),),
        "data": (torch.cat([STORED[:30], X[30:]]), Y),
        "batch_size": 4,
    },
    "no images": {
        "attacks": (PGD(eps=0.5, steps=3),),
        "model": linear(torch.randn(2, 5, generator=torch.Generator().manual_seed(0))),
        "data": (torch.rand(30, 5, generator=torch.Generator().manual_seed(1)), torch.arange(30) % 2),
    },
    "float64 and other bounds": {
        "attacks": (PGD(eps=0.3, steps=3), Noise(eps=0.3)),
        "model": Classifier(smooth_cnn(classes=2), bounds=(-1.0, 1.0)),
        "data": Dataset(
            name="pairs",
            source=(torch.rand(24, 1, 6, 6, generator=torch.Generator().manual_seed(2)) * 2 - 1, torch.arange(24) % 2),
            bounds=(-1.0, 1.0),
            class_names=("no", "yes"),
            notes=("made up",),
        ),
    },
    "always wrong": {
        "attacks": (FGSM(eps=EPS), PGD(eps=EPS, steps=2)),
        "data": (X[:20], (digits_cnn()(X[:20]).argmax(1) + 1) % 10),
        "expected_clean_accuracy": 0.0,
    },
    "without points": {"attacks": ATTACKS, "evidence": False},
}


QUICK = ("a cascade", "targeted", "images on their levels", "namesakes", "stopped early", "float64 and other bounds")


@pytest.mark.parametrize("name", quick(*QUICK, slow=[name for name in INTACT if name not in QUICK]))
def test_an_intact_bundle_is_never_refused(name, tmp_path):
    arguments = {"model": digits_cnn(), "data": (X, Y), **INTACT[name]}
    evaluation = write(tmp_path / "b", archive=True, **arguments)
    alone = robustkit.verify(tmp_path / "b.zip")
    assert alone.holds, alone.false
    model = arguments["model"]
    if isinstance(model, Classifier):
        model = Classifier(model.model, bounds=model.bounds, draws=model.draws)
    result = robustkit.verify(tmp_path / "b", model, arguments["data"], batch_size=7)
    assert result.holds, result.false
    assert not result.remarks
    left_out = [check.what for check in result.checks if check.status == "not checked"]
    assert left_out == (["predictions"] if evaluation.diagnostics[4].status == "fail" else [])


def test_several_audits_hold_too(tmp_path):
    found, audits, other = [], [], copy.deepcopy(digits_cnn())
    other[-1].bias.data += 0.1
    for name, net in (("one net", digits_cnn()), ("two nets", other)):
        found.append(robustkit.evaluate(net, (X, Y), [FGSM(eps=EPS)], evidence=True))
        audits.append(build_audit(found[-1], Classifier(net), name=name))
    save_bundle(build_report(audits, title="both"), found, tmp_path / "b")
    both, data = [digits_cnn(), other], [(X, Y), (X, Y)]
    assert robustkit.verify(tmp_path / "b", both, data).holds
    swapped = robustkit.verify(tmp_path / "b", both[::-1], data)
    assert [str(m)[:25] for m in swapped.false] == ["the model: weights_sha256"] * 2
    with pytest.raises(ConfigurationError, match="a list with classifier for each of 2 audits"):
        robustkit.verify(tmp_path / "b", digits_cnn())


def flip(ledger):
    """Gives a broken sample back its label."""
    row = int(np.flatnonzero(ledger.broken_under("pgd"))[0])
    ledger["pgd/prediction"][row] = ledger["label"][row]


def heal(ledger):
    """Makes every attack fail on one broken sample, in all columns alike."""
    row = int(np.flatnonzero(ledger["worst_prediction"] != ledger["clean_prediction"])[0])
    for attack in ledger.attacks:
        ledger[f"{attack}/prediction"][row] = ledger["label"][row]
        ledger[f"{attack}/margin"][row] = -1 - ledger[f"{attack}/distance"][row]
        ledger[f"{attack}/confidence"][row] = 0.9
    margins = [ledger[f"{attack}/margin"][row] for attack in ledger.attacks]
    ledger["worst_attack"][row] = int(np.argmax(margins))
    ledger["worst_prediction"][row], ledger["worst_confidence"][row] = ledger["label"][row], 0.9


def raise_accuracy(audit):
    audit["worst_case"]["accuracy"]["k"] += 5


class TestForgeriesWithAllHashesMadeAnew:
    def test_nothing_forged_is_nothing_found(self, folder):
        Forger(folder).finish()
        assert lies(folder) == ""

    def test_robust_accuracy(self, folder):
        forger = Forger(folder)
        k = forger.report.audits[0].worst_case.accuracy.k
        forger.audit(raise_accuracy)
        forger.finish()
        text = lies(folder, model=False, data=None)
        assert f"report.json: audits[0].worst_case.accuracy.k: expected {k}, got {k + 5}" in text

    def test_a_flipped_verdict(self, folder):
        forger = Forger(folder)
        forger.ledger(flip, derived=False)
        forger.finish()
        text = lies(folder, model=False, data=None)
        assert "ledger.csv: pgd/prediction of sample" in text
        assert "as its margin says" in text
        assert "report.json: audits[0].attacks[2].accuracy.k" in text

    def test_a_verdict_flipped_in_every_column_and_figure(self, folder):
        forger = Forger(folder)
        forger.ledger(heal)
        forger.finish()
        assert lies(folder, model=False, data=None) == ""  # nothing contradicts anything, until the model speaks
        text = lies(folder)
        assert "ledger.csv: worst_prediction of sample" in text
