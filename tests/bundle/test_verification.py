"""Verifying a bundle: what was forged is named, however careful the forger, and what is intact is never refused."""

from __future__ import annotations

import copy
import random
import shutil
import zipfile
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from bundles import ATTACKS, EPS, Forger, noisy, quick, write
from nets import digits, digits_cnn, linear, smooth_cnn

import robustkit
from robustkit.attacks import APGD, FAB, FGSM, PGD, Foolbox, Noise, Square, Transfer
from robustkit.attacks.base import Attack
from robustkit.attacks.protocols import Protocol
from robustkit.base.errors import ConfigurationError
from robustkit.bundle import restore, save_bundle
from robustkit.bundle.opening import check_files
from robustkit.data.dataset import Dataset
from robustkit.evaluation.outcome import Judge
from robustkit.model.classifier import Classifier
from robustkit.model.weights import weights_sha256
from robustkit.report.build import build_audit, build_report

X, Y = digits(60)
STORED = (X * 255).round() / 255
NAMES = [f"scan {i:02}" for i in range(60)]
STRONG = (APGD(eps=EPS, steps=5), APGD(eps=EPS, steps=5, loss="dlr", targets=3), Square(eps=EPS, queries=20))


@pytest.fixture(scope="module", autouse=True)
def quickly():
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "mine"
    write(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "copy")


def lies(folder, *, model=True, data=True):
    """Returns what is false, as text."""
    classifier = Classifier(digits_cnn()) if model is True else model
    result = robustkit.verify(folder, classifier or None, (X, Y) if data is True else data)
    assert result.holds == (not result.false)
    return "\n".join(map(str, result.false))


@dataclass(frozen=True, kw_only=True)
class Mine(Attack):
    """An attack of one's own."""

    name: ClassVar[str] = "mine"
    kind: ClassVar[str] = "black-box"
    source: ClassVar[str] = "these tests"

    def start(self, problem, rows):
        return rows.having(x_adv=torch.maximum(torch.minimum(1 - rows.x, rows.upper), rows.lower))


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
    },
    "without points": {"attacks": ATTACKS, "evidence": False},
}


@pytest.mark.parametrize("case", INTACT.values(), ids=INTACT.keys())
def test_an_intact_bundle_is_never_refused(case, tmp_path):
    arguments = {"model": digits_cnn(), "data": (X, Y), **case}
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


def test_a_thousand_changed_bytes_are_each_caught_and_named(folder):
    draw = random.Random(0)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    assert check_files(folder)[1] == []
    hits = dict.fromkeys(files, 0)
    for _ in range(1000):
        file = draw.choice(files)
        whole = file.read_bytes()
        place = draw.randrange(len(whole))
        changed = bytes([whole[place] ^ draw.randrange(1, 256)])
        file.write_bytes(whole[:place] + changed + whole[place + 1 :])
        (found,) = check_files(folder)[1]
        assert found.where == file.relative_to(folder).as_posix(), (file, place)
        file.write_bytes(whole)
        hits[file] += 1
    assert min(hits.values()) > 20
    assert check_files(folder)[1] == []


def test_missing_and_extra_files_are_named(folder):
    (folder / "report.md").unlink()
    (folder / "png/extra.png").write_text("")
    text = lies(folder, model=False, data=None)
    assert "report.md: expected this file, got none" in text
    assert "png/extra.png: expected no such file, got one" in text


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

    def test_an_adversarial_outside_the_ball(self, folder):
        forger = Forger(folder)

        def far(tensors):
            place = tensors["attack/fgsm"].max()
            tensors["points"][place] = 1 - tensors["points"][place]

        forger.points(far)
        forger.finish()
        assert "expected one within Linf 0.1 and (0.0, 1.0), got" in lies(folder, model=False)

    def test_an_adversarial_a_hair_outside_the_ball_or_the_box(self, folder):
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

    def test_an_adversarial_replaced_by_the_clean_input(self, folder):
        forger = Forger(folder)
        broken = forger.report.audits[0].gallery[0].id

        def clean(tensors):
            tensors["points"][tensors["worst"][broken]] = X[broken].numpy()

        forger.points(clean)
        forger.finish()
        assert "/distance of sample" in lies(folder, model=False)
        assert "worst_prediction of sample" in lies(folder)

    def test_swapped_weights(self, folder):
        other = copy.deepcopy(digits_cnn())
        other[-1].bias.data[0] += 0.5
        assert lies(folder, model=other).startswith("the model: weights_sha256: expected ")
        forger = Forger(folder)
        forger.audit(lambda audit: audit["subject"].update(weights_sha256=weights_sha256(other)))
        forger.finish()
        assert "the model: weights_sha256" in lies(folder)
        assert "ledger.csv: clean_confidence of sample" in lies(folder, model=other)

    def test_a_changed_label(self, folder):
        forger = Forger(folder)
        wrong = int(np.flatnonzero(digits_cnn()(X).argmax(1) != Y)[0])

        def relabel(ledger):
            ledger["label"][wrong] = ledger["clean_prediction"][wrong]

        forger.ledger(relabel, derived=False)
        forger.finish()
        assert f"ledger.csv: label of sample {wrong}: expected {int(Y[wrong])}, got " in lies(folder, model=False)
        assert "prediction of sample" in lies(folder, model=False, data=None)  # it was not attacked, though now right

    def test_a_changed_input(self, folder):
        x = X.clone()
        x[7, 0, 0, 0] = 0.5
        assert "the data: expected SHA-256" in lies(folder, model=False, data=(x, Y))
        assert "the data: expected sample 40, got none (and 19 more)" in lies(
            folder, model=False, data=(X[:40], Y[:40])
        )

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda a: a["clean"].update(wilson=[0.99, 1.0]), "audits[0].clean.wilson[0]"),
            (lambda a: a["per_class"][3]["robust"].update(k=0), "audits[0].per_class[3].robust.k"),
            (lambda a: a["attacks"][1]["attack_success"].update(k=0), "audits[0].attacks[1].attack_success.k"),
            (
                lambda a: a["calibration"]["attacked"]["ece"].update(value=0.01),
                "audits[0].calibration.attacked.ece.value",
            ),
            (lambda a: a["calibration"]["clean"]["ece"].update(high=0.9), "audits[0].calibration.clean.ece.high"),
            (lambda a: a["verdict"].update(quality="reliable"), "audits[0].verdict.quality"),
            (lambda a: a["verdict"].update(coverage=[]), "audits[0].verdict.coverage"),
            (lambda a: a["verdict"].update(requirement="met"), "audits[0].verdict.requirement"),
            (lambda a: a["threat"].update(eps="8/255"), "audits[0].threat.eps"),
            (lambda a: a["diagnostics"][15].update(status="not run"), "audits[0].diagnostics[15]"),
            (lambda a: a["method"].update(fingerprint="0" * 12), "audits[0].method.fingerprint"),
            (lambda a: a["method"].update(protocol="autoattack"), "audits[0].method.fingerprint"),
            (lambda a: a["data"].update(n=1000), "audits[0].data.n"),
            (
                lambda a: a["gallery"][0].update(adversarial_confidence=0.99),
                "audits[0].gallery[0].adversarial_confidence",
            ),
            (lambda a: a["attacks"][0].update(name="apgd-t"), "ledger.csv: attacks"),
            (lambda a: a["worst_case"]["broken_by"].update({"fgsm": 0}), "audits[0].worst_case.broken_by.fgsm"),
        ],
    )
    def test_any_figure_that_follows_from_the_ledger(self, folder, change, named):
        forger = Forger(folder)
        forger.audit(change)
        forger.finish()
        assert named in lies(folder, model=False, data=None)

    def test_figures_that_only_the_model_knows(self, folder):
        forger = Forger(folder)
        forger.audit(lambda a: a["calibration"]["clean"]["classwise_ece"].update(value=0.001))
        forger.audit(lambda a: a["gallery"][0].update(clean=a["gallery"][1]["clean"]))
        forger.audit(lambda a: a["subject"].update(parameters=5))
        forger.finish()
        assert lies(folder, model=False, data=None) == ""
        assert "report.json: clean picture of sample" in lies(folder, model=False)
        text = lies(folder)
        assert "the model: parameters" in text
        forger = Forger(folder)
        forger.audit(lambda a: a["subject"].update(parameters=sum(p.numel() for p in digits_cnn().parameters())))
        forger.finish()
        assert "audits[0].calibration.clean.classwise_ece" in lies(folder)

    def test_a_confidence(self, folder):
        forger = Forger(folder)

        def modest(ledger):
            ledger["clean_confidence"][5] -= 0.05

        forger.ledger(modest)
        forger.finish()
        assert lies(folder, model=False, data=None) == ""
        assert "ledger.csv: clean_confidence of sample 5" in lies(folder)

    def test_a_page_and_a_picture(self, folder):
        picture = next(p for p in sorted(folder.glob("png/*-clean.png")))
        other = picture.with_name(picture.name.replace("clean", "adversarial"))
        (folder / "report.html").write_text("<p>98 %")
        picture.write_bytes(other.read_bytes())
        Forger(folder).finish(pages_too=False)
        text = lies(folder, model=False, data=None)
        assert "report.html: expected what report.json gives, got another" in text
        assert f"png/{picture.name}: expected the picture in report.json, got another" in text


class AnotherMachine:
    """A judge whose logits are off by a share of their spread."""

    def __init__(self, share):
        self.share = share

    def __call__(self, judge, x, ids):
        z = judge.honest(x, ids)
        sign = torch.where(torch.arange(z.shape[1]) % 2 == 0, 1.0, -1.0)
        return z + self.share * (z.amax(1) - z.amin(1)).unsqueeze(1) * sign


@pytest.mark.parametrize(("share", "holds"), [(3e-7, True), (3e-4, True), (0.05, False)])
def test_noise_of_another_machine_is_a_remark_and_no_forgery(folder, monkeypatch, share, holds):
    monkeypatch.setattr(Judge, "honest", Judge.__call__, raising=False)
    other = AnotherMachine(share)
    monkeypatch.setattr(Judge, "__call__", lambda self, x, ids: other(self, x, ids))
    result = robustkit.verify(folder, Classifier(digits_cnn()), (X, Y))
    assert result.holds is holds
    assert bool(result.remarks) is (share > 1e-5)
    for remark in result.remarks:
        assert "figures of ledger.csv differ within floating-point noise" in remark
        assert "two logits closer than 2e-3 of their spread" in remark


def test_pages_of_other_versions_are_not_checked_and_told(folder, monkeypatch):
    monkeypatch.setattr("robustkit.bundle.check_report.same_versions", lambda *_: False)
    (folder / "report.html").write_text("<p>drawn otherwise")
    result = robustkit.verify(folder)
    assert [m.where for m in result.false] == ["report.html"]  # its hash, and nothing else
    assert ("not checked", "drawn by other versions") in [(c.status, c.note) for c in result.checks]


def test_pages_that_are_drawn_the_same_hold_whatever_the_versions(folder, monkeypatch):
    monkeypatch.setattr("robustkit.bundle.check_report.same_versions", lambda *_: False)
    made = [(c.what, c.status) for c in robustkit.verify(folder).checks if "report.html" in c.what]
    assert made == [("report.html and report.md from report.json", "holds")]


def test_an_attack_nobody_here_knows_leaves_its_kind_on_trust(tmp_path, monkeypatch):
    write(tmp_path / "b", (Mine(eps=EPS), PGD(eps=EPS, steps=3)))
    known = {name: kind for name, kind in restore.known_attacks().items() if kind.__name__ != "Mine"}
    monkeypatch.setattr(restore, "known_attacks", lambda: known)
    result = robustkit.verify(tmp_path / "b", Classifier(digits_cnn()), (X, Y))
    assert result.holds, result.false
    assert "diagnostics and coverage, as mine is not known here" in result.trusted


def test_what_nobody_can_check_is_listed(folder):
    trusted = " | ".join(robustkit.verify(folder).trusted)
    for claim in ("cannot be broken", "times", "Q02", "every prediction", "within the threat"):
        assert claim in trusted
    trusted = " | ".join(robustkit.verify(folder, Classifier(digits_cnn()), (X, Y)).trusted)
    assert "cannot be broken" in trusted
    assert "every prediction" not in trusted


def test_what_is_no_bundle_is_refused(folder, tmp_path):
    (tmp_path / "text.zip").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr("../evil", "")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "")
    for name in ("none", "text.zip", "evil.zip", "other.zip", "."):
        with pytest.raises(ConfigurationError, match=r"^bundle '.*': expected"):
            robustkit.verify(tmp_path / name)
    assert not (tmp_path.parent / "evil").exists()
    with pytest.raises(ConfigurationError, match="mean of 1 draws"):
        robustkit.verify(folder, Classifier(digits_cnn(), draws=2))


@pytest.mark.parametrize("content", ["", "{}", "[", '{"schema": "robustkit.bundle/9.0"}', "\udcff"])
def test_a_manifest_that_is_none_is_named(folder, content):
    (folder / "manifest.json").write_bytes(content.encode(errors="surrogateescape"))
    result = robustkit.verify(folder)
    assert [m.where for m in result.false] == ["manifest.json"]
