"""Bundles to check, and a forger who makes every hash anew."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from nets import digits, digits_cnn
from safetensors.numpy import load_file, save_file

import robustkit
from robustkit.attacks import FGSM, PGD, Noise
from robustkit.attacks.base import Attack
from robustkit.bundle import save_bundle
from robustkit.bundle.restore import derive, restore
from robustkit.bundle.save import illustrations, pages
from robustkit.evaluation.ledger import Ledger
from robustkit.model.classifier import Classifier
from robustkit.report import load, result_sha256
from robustkit.report.build import build_audit, build_report
from robustkit.report.document.manifest import NAME, PAGES, from_text, to_text

EPS = 0.1
X, Y = digits(60)
ATTACKS = (Noise(eps=EPS, restarts=3), FGSM(eps=EPS), PGD(eps=EPS, steps=5))


def quick(patch: pytest.MonkeyPatch) -> None:
    """Leaves out the slow parts: figures in the pages, and most of the bootstrap."""
    from robustkit.maths.calibration import measure

    patch.setattr("robustkit.bundle.save.render_html", lambda report: f"<p>{report.id}")
    patch.setattr("robustkit.evaluation.result.measure", functools.partial(measure, resamples=20))


def write(
    folder: Path, attacks=ATTACKS, *, model=None, data=None, archive=False, sign=None, timestamp=None, **arguments
) -> robustkit.Evaluation:
    """Audits a model, by default on 60 digits, and writes the bundle."""
    classifier = model if isinstance(model, Classifier) else Classifier(model or digits_cnn())
    settings = {"evidence": True, "batch_size": 64, **arguments}
    evaluation = robustkit.evaluate(classifier, digits(60) if data is None else data, attacks, **settings)
    report = build_report([build_audit(evaluation, classifier, name="mine")], title="mine")
    save_bundle(report, evaluation, folder, archive=archive, sign=sign, timestamp=timestamp)
    return evaluation


class Forger:
    """Changes files of a bundle and makes every hash, page and picture agree again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report = load(folder / "report.json")

    def audit(self, change: Callable[[dict], None]) -> None:
        """Changes the first audit of the report, as a tree of plain data."""
        tree = json.loads((self.folder / "report.json").read_text())
        change(tree["audits"][0])
        (self.folder / "report.json").write_text(json.dumps(tree))
        self.report = load(self.folder / "report.json")

    def ledger(self, change: Callable[[Ledger], None], derived: bool = True) -> None:
        """Changes the ledger and, if asked, every figure of the report that follows from it."""
        ledger = Ledger.from_csv((self.folder / "ledger.csv").read_text())
        change(ledger)
        (self.folder / "ledger.csv").write_text(ledger.to_csv())
        if derived:
            (stated,) = self.report.audits
            audit = derive(stated, restore(stated, ledger, self.report.environment))
            audit = dataclasses.replace(audit, data=dataclasses.replace(audit.data, ids_sha256=ledger.ids_sha256))
            self.report = dataclasses.replace(self.report, audits=(audit,))

    def points(self, change: Callable[[dict], None]) -> None:
        """Changes the adversarial points."""
        tensors = load_file(self.folder / "adversarials.safetensors")
        change(tensors)
        save_file(tensors, self.folder / "adversarials.safetensors")

    def finish(self, pages_too: bool = True) -> None:
        """Makes the hashes agree, and pages and pictures if asked."""

        def sha(name: str) -> str:
            return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()

        artefacts = tuple(dataclasses.replace(a, sha256=sha(a.path)) for a in self.report.artefacts)
        result = result_sha256(self.report.audits)
        report = dataclasses.replace(self.report, artefacts=artefacts, result_sha256=result)
        drawn = {**dict(zip(PAGES, pages(report), strict=True)), **illustrations(report)} if pages_too else {}
        for name, content in drawn.items():
            (self.folder / name).write_bytes(content)
        tree = json.loads((self.folder / NAME).read_text())
        manifest = from_text((self.folder / NAME).read_text())
        (audit,) = report.audits
        part = dataclasses.replace(
            manifest.audits[0],
            weights_sha256=audit.subject.weights_sha256,
            data_sha256=audit.data.sha256,
            ids_sha256=audit.data.ids_sha256,
        )
        files = {name: sha(name) for name in tree["files"]}
        versions = {name: report.environment[name] for name in tree["versions"]}
        manifest = dataclasses.replace(manifest, audits=(part,), files=files, versions=versions)
        (self.folder / NAME).write_text(to_text(manifest))


def noisy(scale: float) -> torch.nn.Module:
    """Returns the digits network with noise on its input, a random model."""

    class Noisy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = digits_cnn()

        def forward(self, x):
            return self.net(x + scale * torch.randn_like(x))

    return Noisy().eval()


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
