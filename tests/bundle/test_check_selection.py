"""Samples that suited best, and data called by another name."""

from __future__ import annotations

import json

import pytest
import torch
from bundles import EPS, Forger, X, Y, lies, write
from nets import digits_cnn

import robustkit
from robustkit.attacks import FGSM
from robustkit.data.dataset import Dataset
from robustkit.loading.data import load_data

ATTACK = (FGSM(eps=EPS),)
SURVIVING = [0, 2, 3, 7, 9]


def picked(rows):
    """Some samples under the ids they have in the whole."""
    return (X[rows], Y[rows], rows)


def forged(folder, selection, **data):
    """Says that the samples were chosen otherwise."""
    forger = Forger(folder)
    forger.audit(lambda audit: audit["data"].update(selection=selection, **data))
    forger.finish()
    return folder


def forged_whole(folder, whole):
    """Says otherwise what the samples were chosen from."""
    forger = Forger(folder)
    forger.audit(lambda audit: audit["data"].update(whole=whole and {**audit["data"]["whole"], **whole}))
    forger.finish()
    return folder


def load_ledger(folder):
    return robustkit.Ledger.from_csv((folder / "ledger.csv").read_text())


@pytest.mark.parametrize(
    "selection", ["all samples", "the first 5 samples", "5 of 60 samples, stratified by class (seed 0)"]
)
def test_samples_that_suited_best_are_no_selection(tmp_path, selection):
    write(tmp_path / "b", ATTACK, data=picked(SURVIVING))
    text = lies(forged(tmp_path / "b", selection))
    assert (
        f"report.json: audits[0].data.selection: expected {selection}, got others: sample 1" in text or "is not" in text
    )
    stream = ((x, int(y)) for x, y in zip(X, Y, strict=True))
    if "of" not in selection:
        assert "data.selection: expected" in lies(tmp_path / "b", data=stream)


def test_what_a_selection_was_drawn_from_has_that_size(tmp_path):
    write(tmp_path / "b", ATTACK, limit=17)
    more = (torch.cat([X, X[:1]]), torch.cat([Y, Y[:1]]))
    assert "data.selection: expected samples of the 61 that the data hold, got of 60" in lies(tmp_path / "b", data=more)
    result = robustkit.verify(tmp_path / "b", digits_cnn(), iter([(X, Y)]))
    (left_out,) = result.unchecked
    assert left_out.note == "the data given cannot be indexed, so that no sample can be drawn from them"


@pytest.mark.parametrize("chosen", [{"first": 17}, {"limit": 17}, {"until": 0.3, "batch_size": 8}])
def test_samples_come_from_the_data_that_the_report_states_as_a_whole(tmp_path, chosen):
    write(tmp_path / "b", ATTACK, **chosen)
    ids = load_ledger(tmp_path / "b")["id"]
    assert lies(tmp_path / "b") == ""
    other = X.clone()
    other[min(set(range(60)) - set(ids.tolist()))] = 0.5  # of a sample that was not chosen
    assert "audits[0].data.whole: expected 60 samples with SHA-256" in lies(tmp_path / "b", data=(other, Y))
    if "first" in chosen:
        assert "data.whole: expected 59 samples with" in lies(tmp_path / "b", data=(X[:59], Y[:59]))
    whole = json.loads((tmp_path / "b" / "report.json").read_text())["audits"][0]["data"]["whole"]
    assert robustkit.verify(tmp_path / "b", expect_data=whole["sha256"]).holds
    untold = robustkit.verify(forged_whole(tmp_path / "b", None), digits_cnn(), (other, Y))
    assert untold.holds
    assert not untold.unchecked
    told = "size and hash of all data that the samples were chosen from, which the report does not state"
    assert told in untold.trusted


def test_a_hash_of_files_says_nothing_of_inputs(tmp_path):
    write(tmp_path / "b", ATTACK, first=17)
    result = robustkit.verify(forged_whole(tmp_path / "b", {"of": "files"}), digits_cnn(), (X, Y))
    assert result.holds
    assert [check.note for check in result.unchecked] == ["the report has a hash of files, the data given of inputs"]


def test_words_of_ones_own_are_no_selection_that_can_be_checked(tmp_path):
    write(tmp_path / "b", ATTACK, data=picked(SURVIVING))
    result = robustkit.verify(forged(tmp_path / "b", "the interesting ones"), digits_cnn(), (X, Y))
    assert result.holds
    assert [check.what for check in result.unchecked] == ["selection of samples"]


def test_what_stopped_early_took_the_samples_in_the_order_of_its_seed(tmp_path):
    write(tmp_path / "b", ATTACK, until=0.3, batch_size=8, seed=1)
    assert robustkit.verify(tmp_path / "b", digits_cnn(), (X, Y)).holds
    forger = Forger(tmp_path / "b")

    def other_seed(audit):
        for part in ("clean", "attacked"):
            audit["calibration"][part]["seed"] = 2
        for attack in audit["attacks"]:
            attack["seed"] = 2

    forger.audit(other_seed)
    forger.finish()
    assert "data.selection: expected" in lies(tmp_path / "b")


def test_known_data_have_their_own_name_and_split(tmp_path):
    digits = load_data("digits", split="test")
    write(tmp_path / "b", ATTACK, data=digits, first=5)
    assert lies(tmp_path / "b", data=digits) == ""
    text = lies(forged(tmp_path / "b", "the first 5 samples", name="imagenet", split="train"), data=digits)
    assert "report.json: audits[0].data.name: expected digits, got imagenet" in text
    assert "report.json: audits[0].data.split: expected test, got train" in text


def test_other_names_are_anybodys_so_that_a_difference_is_undecided(tmp_path):
    write(tmp_path / "b", ATTACK, data=Dataset(name="scans/a.npz", source=(X[:5], Y[:5])))
    same = robustkit.verify(tmp_path / "b", digits_cnn(), Dataset(name="/elsewhere/a.npz", source=(X[:5], Y[:5])))
    other = robustkit.verify(tmp_path / "b", digits_cnn(), Dataset(name="b.npz", source=(X[:5], Y[:5])))
    assert same.holds
    assert other.holds
    assert not same.unchecked
    assert [check.note for check in other.unchecked] == ["the report names them 'scans/a.npz', those given are 'b.npz'"]


def test_a_split_is_that_of_the_data_or_undecided(tmp_path):
    def data(split):
        return Dataset(name="mine", source=(X[:5], Y[:5]), split=split)

    write(tmp_path / "b", ATTACK, data=data("train"))
    assert "data.split: expected test, got train" in lies(tmp_path / "b", data=data("test"))
    left_out = robustkit.verify(tmp_path / "b", digits_cnn(), data(None)).unchecked
    assert [check.note for check in left_out] == ["the report names the split 'train', those given name none"]
    write(tmp_path / "b", ATTACK, data=data(None))
    assert not robustkit.verify(tmp_path / "b", digits_cnn(), data("test")).unchecked
