"""Whose ledger is whose: found by the manifest, confirmed by the counts, never by the order of the files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from nets import digits, digits_cnn
from report_examples import audit, report

from robustkit.attacks import FGSM
from robustkit.base.errors import ConfigurationError
from robustkit.bundle import save_bundle
from robustkit.cli import run
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluator import evaluate
from robustkit.model.classifier import Classifier
from robustkit.report import load, save
from robustkit.report.build import build_audit, build_report
from robustkit.report.compare.comparison import compare
from robustkit.report.document.open_audit import disagreement, open_audit, place_of

NAMES = ("standard", "adversarial", "zero shot")  # their files sort in another order


pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture(scope="module")
def parts(quickly):
    """Audits and evaluations of one network at three radii, each weaker than the one before."""
    classifier = Classifier(digits_cnn(), num_classes=10)
    runs = [evaluate(classifier, digits(40), [FGSM(eps=eps)], probes=0) for eps in (0.2, 0.1, 0.03)]
    return [build_audit(run, classifier, name=name) for run, name in zip(runs, NAMES, strict=True)], runs


@pytest.fixture(scope="module")
def bundle(parts, tmp_path_factory) -> Path:
    audits, runs = parts
    return save_bundle(build_report(audits, title="three"), runs, tmp_path_factory.mktemp("three") / "b")


@pytest.mark.parametrize("name", NAMES)
def test_every_model_of_a_bundle_has_its_own_ledger(bundle, parts, name):
    found = open_audit(bundle, name, "--model")
    audits, runs = parts
    assert found.audit == audits[NAMES.index(name)]
    assert found.ledger.to_csv() == runs[NAMES.index(name)].ledger.to_csv()


def test_a_comparison_within_a_bundle_says_what_the_audits_say(bundle, parts):
    audits, _ = parts
    robust = {one.subject.name: one.worst_case.accuracy.k for one in audits}
    assert robust["standard"] < robust["adversarial"] < robust["zero shot"]
    for before in NAMES:
        for after in NAMES:
            worst = compare(bundle, bundle, before_name=before, after_name=after).rows[-1]
            assert (worst.before.k, worst.after.k) == (robust[before], robust[after])


def test_evaluations_in_another_order_are_not_written(parts, tmp_path):
    audits, runs = parts
    with pytest.raises(ConfigurationError, match=r"expected the evaluation of 'standard', got one with .* correct"):
        save_bundle(build_report(audits, title="x"), [runs[1], runs[0], runs[2]], tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_ledger_of_another_model_is_refused_even_where_every_hash_agrees(parts, bundle, tmp_path):
    audits, runs = parts
    copy = shutil.copytree(bundle, tmp_path / "copy")
    swapped = {"ledger-standard.csv": runs[1], "ledger-adversarial.csv": runs[0]}
    for name, other in swapped.items():
        (copy / name).write_text(other.ledger.to_csv())
    whole = load(copy / "report.json")
    artefacts = tuple(
        dataclasses.replace(a, sha256=hashlib.sha256((copy / a.path).read_bytes()).hexdigest()) for a in whole.artefacts
    )
    save(dataclasses.replace(whole, artefacts=artefacts), copy / "report.json")
    with pytest.raises(ConfigurationError, match=r"to be the ledger of 'standard', got .* where the report has"):
        open_audit(copy, "standard", "--model")
    assert open_audit(copy, "zero shot", "--model").audit == audits[2]


def test_without_a_manifest_several_models_are_refused_and_one_is_found(parts, bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / "manifest.json").unlink()
    with pytest.raises(ConfigurationError, match="which says whose ledger is whose, got none"):
        open_audit(copy, "standard", "--model")
    alone = save_bundle(build_report(parts[0][:1], title="one"), parts[1][0], tmp_path / "alone")
    (alone / "manifest.json").unlink()
    assert open_audit(alone, None, "--model").audit == parts[0][0]


def test_a_manifest_of_other_models_is_refused(parts, bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    other = save_bundle(build_report(parts[0][:1], title="one"), parts[1][0], tmp_path / "other")
    shutil.copy(other / "manifest.json", copy / "manifest.json")
    with pytest.raises(ConfigurationError, match="expected the models of the report"):
        open_audit(copy, "standard", "--model")


def test_every_count_is_compared(parts):
    audits, runs = parts
    one, ledger = audits[0], runs[0].ledger
    assert disagreement(one, ledger) is None
    assert disagreement(dataclasses.replace(one, attacks=()), ledger).startswith("one of other attacks (fgsm)")
    half = Ledger.joined([ledger], list(range(20)))
    assert disagreement(one, half) == "one of other samples"
    row = next(row for row in one.per_class if row.robust.n)
    fewer = dataclasses.replace(row, robust=dataclasses.replace(row.robust, k=row.robust.k + 1))
    changed = dataclasses.replace(one, per_class=(fewer,))
    assert f"of class '{row.name}' under every attack" in disagreement(changed, ledger)


def test_a_name_that_two_models_have_is_refused(in_folder, capsys):
    twins = report(audit("twin", 0.1), audit("twin", 0.6))
    with pytest.raises(ConfigurationError, match="a name that one model in 'here' has, got 'twin', which 2 have"):
        place_of(twins, "twin", "here", "--before")
    save(twins, "report.json")
    assert run(["gate", ".", "--audit", "twin", "--require", "robust_accuracy>=0.5"]) == 2
    assert "which 2 have" in capsys.readouterr().err
    assert json.loads(Path("report.json").read_text())["schema"]
