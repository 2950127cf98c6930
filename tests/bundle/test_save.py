"""Writing a bundle: what it holds, that nothing is there twice, and that it appears whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import ATTACKS, EPS, write
from nets import digits, digits_cnn
from safetensors.numpy import load_file

import robustkit
from robustkit.attacks import FGSM, PGD
from robustkit.attacks.protocols import Protocol
from robustkit.base.errors import ConfigurationError
from robustkit.bundle import save, save_bundle
from robustkit.evaluation.evidence import Evidence, StoredEvidence
from robustkit.model.classifier import Classifier
from robustkit.report import load
from robustkit.report.build import build_audit, build_report


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "mine"
    return folder, write(folder)


def test_a_bundle_holds_report_ledger_points_pictures_and_manifest(bundle):
    folder, evaluation = bundle
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert names == {"manifest.json", *manifest["files"]}
    assert {"report.json", "report.html", "report.md", "ledger.csv", "adversarials.safetensors"} <= names
    assert sum(name.startswith("png/") for name in names) == 12
    (part,) = manifest["audits"]
    assert part["data_sha256"] == evaluation.data_sha256
    assert part["ids_sha256"] == evaluation.ids_sha256
    assert {a.path for a in load(folder / "report.json").artefacts} == {"ledger.csv", "adversarials.safetensors"}


def test_points_are_the_worst_and_those_that_broke_a_sample_each_stored_once(bundle):
    folder, evaluation = bundle
    held = load_file(folder / "adversarials.safetensors")
    ledger, points = evaluation.ledger, held["points"]
    assert held["ids"].tolist() == sorted(ledger["id"].tolist())
    assert points.dtype == np.float32
    assert points.shape[1:] == evaluation.input_shape
    logits = digits_cnn()(torch.from_numpy(points)).numpy()
    assert (logits[held["worst"]].argmax(1) == ledger["worst_prediction"]).all()
    assert len({p.tobytes() for p in points}) == len(points)
    used = {place for name, column in held.items() if name not in ("ids", "points") for place in column.tolist()}
    assert used - {-1} == set(range(len(points)))
    for index, run in enumerate(evaluation.runs):
        column = held[f"attack/{run.label}"]
        broken, worst = ledger.broken_under(run.label), ledger["worst_attack"] == index
        assert ((column >= 0) == (broken | worst)).all()
        assert (logits[column[broken]].argmax(1) == ledger[f"{run.label}/prediction"][broken]).all()
        assert (column[worst] == held["worst"][worst]).all()
    alone = np.flatnonzero(~ledger.right)
    assert (points[held["worst"][alone]] == digits(60)[0][alone].numpy()).all()


def test_in_a_cascade_there_is_one_point_a_sample(tmp_path):
    write(tmp_path / "b", Protocol("mine", (FGSM(eps=EPS), PGD(eps=EPS, steps=5))))
    assert len(load_file(tmp_path / "b/adversarials.safetensors")["points"]) == 60


@pytest.mark.parametrize("size", [7, 60])
def test_points_do_not_depend_on_batch_size_or_order(bundle, tmp_path, size):
    x, y = digits(60)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(size))
    write(tmp_path / "b", data=(x[order], y[order], order), batch_size=size)
    mine, other = (load_file(f / "adversarials.safetensors") for f in (bundle[0], tmp_path / "b"))
    assert mine.keys() == other.keys()
    for name, values in mine.items():
        np.testing.assert_allclose(values, other[name], atol=1e-6)


def test_parts_of_an_evaluation_are_put_together(bundle, tmp_path):
    _, evaluation = bundle
    x, y = digits(60)
    parts = []
    for ids in (torch.arange(25, 60), torch.arange(25)):
        part = robustkit.evaluate(digits_cnn(), (x[ids], y[ids], ids), ATTACKS, evidence=True, batch_size=64)
        parts.append(part.evidence)
    parts[0].update(parts[1])
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    evaluation.evidence.write(whole)
    parts[0].write(joined)
    mine, other = load_file(whole), load_file(joined)
    assert mine["ids"].tolist() == other["ids"].tolist()
    np.testing.assert_allclose(mine["points"][mine["worst"]], other["points"][other["worst"]], atol=1e-6)


def test_nothing_is_kept_unless_it_is_asked_for(tmp_path):
    evaluation = write(tmp_path / "b", evidence=False)
    assert evaluation.evidence is None
    assert not (tmp_path / "b/adversarials.safetensors").exists()
    assert json.loads((tmp_path / "b/manifest.json").read_text())["audits"][0]["adversarials"] is None


def test_damaged_points_are_refused(tmp_path):
    kept = Evidence(["pgd"])
    point = torch.zeros(1, 2)
    kept.settle(torch.tensor([3]), torch.tensor([0]), point)
    kept.write(tmp_path / "good")
    assert StoredEvidence(tmp_path / "good", ["pgd"]).points(torch.tensor([0])).tolist() == [[0.0, 0.0]]
    with pytest.raises(ConfigurationError, match="attack/fgsm"):
        StoredEvidence(tmp_path / "good", ["fgsm"])
    whole = (tmp_path / "good").read_bytes()
    for bad in (whole[:-1], whole[:20], b"", whole.replace(b"I64", b"F64", 1)):
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(ConfigurationError, match=r"^bad: expected"):
            StoredEvidence(tmp_path / "bad", ["pgd"])


def parts(found):
    classifier = Classifier(digits_cnn())
    return build_report([build_audit(found, classifier, name="mine")], title="mine")


def test_archives_of_equal_content_have_equal_bytes(bundle, tmp_path):
    report = parts(bundle[1])
    for place in ("one", "two/three"):
        save_bundle(report, bundle[1], tmp_path / place, archive=True)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two/three.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
        assert set(archive.namelist()) == {"manifest.json", *json.loads(archive.read("manifest.json"))["files"]}


@pytest.mark.parametrize("before", ["nothing", "an empty folder", "an earlier bundle", "a report without a manifest"])
def test_a_bundle_appears_whole_or_not_at_all(bundle, tmp_path, monkeypatch, before):
    folder = tmp_path / "b"
    if before != "nothing":
        folder.mkdir()
    if before == "an earlier bundle":
        save_bundle(dataclasses.replace(parts(bundle[1]), title="earlier"), bundle[1], folder)
    if before == "a report without a manifest":
        (folder / "report.json").write_text("{}")
        (folder / "ledger-standard.csv").write_text("")
    there = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("robustkit.bundle.save.pages", full)
        with pytest.raises(ConfigurationError, match="No space left"):
            save_bundle(parts(bundle[1]), bundle[1], folder, archive=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == there
    assert folder.exists() == (before != "nothing")
    save_bundle(parts(bundle[1]), bundle[1], folder, archive=True)
    assert load(folder / "report.json").title == "mine"
    assert robustkit.verify(folder).holds
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "b.zip"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("moves", [0, 1, 2, 5])
def test_a_process_killed_while_it_replaces_a_bundle_blocks_nothing(bundle, tmp_path, monkeypatch, inside, moves):
    folder = tmp_path / "b"
    save_bundle(dataclasses.replace(parts(bundle[1]), title="earlier"), bundle[1], folder)
    rename, made = Path.rename, []

    def killed(self, target):
        made.append(self)
        if len(made) > moves:
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr("robustkit.bundle.save.movable", lambda _: not inside)
        patch.setattr("robustkit.base.new_folder._exchanged", lambda *_: False)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)  # a killed process clears nothing
        patch.setattr(Path, "rename", killed)
        if inside or moves < 3:
            with pytest.raises(Killed):
                save_bundle(parts(bundle[1]), bundle[1], folder)
    save.check_folder(folder)
    save_bundle(parts(bundle[1]), bundle[1], folder)
    assert load(folder / "report.json").title == "mine"
    assert robustkit.verify(folder).holds
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    assert not list(folder.glob(".*"))


def test_what_somebody_adds_to_the_earlier_folder_at_the_last_moment_is_kept(bundle, tmp_path, monkeypatch):
    save_bundle(parts(bundle[1]), bundle[1], tmp_path / "b")
    swap = save.swap

    def add(*places):
        (tmp_path / "b/notes.txt").write_text("mine")
        swap(*places)

    monkeypatch.setattr("robustkit.bundle.save.swap", add)
    save_bundle(parts(bundle[1]), bundle[1], tmp_path / "b")
    assert (tmp_path / "b/notes.txt").read_text() == "mine"


def test_a_folder_with_files_of_ones_own_is_left_alone(bundle, tmp_path):
    (tmp_path / "weights.safetensors").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"nothing but an earlier report, got .* 'weights\.safetensors'"):
        save_bundle(parts(bundle[1]), bundle[1], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]


def test_evaluations_of_another_report_are_refused(bundle, tmp_path):
    other = robustkit.evaluate(digits_cnn(), digits(20), [FGSM(eps=EPS)])
    for evaluations in (other, [bundle[1]] * 2, []):
        with pytest.raises(ConfigurationError, match="expected the evaluations"):
            save_bundle(parts(bundle[1]), evaluations, tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_a_float64_model_keeps_its_points_in_float64(tmp_path):
    import copy

    net = copy.deepcopy(digits_cnn()).double()
    write(tmp_path / "b", [PGD(eps=EPS, steps=3)], model=net)
    assert load_file(Path(tmp_path, "b/adversarials.safetensors"))["points"].dtype == np.float64
