"""Data cleaning: what is planted is found, what is not there is not, and nothing is dropped unasked."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from nets import generator

from robustkit.base.errors import ConfigurationError
from robustkit.cli import run
from robustkit.data.cleaning import KINDS, clean
from robustkit.data.dataset import Batch, batches
from robustkit.data.suspicious import out_of_fold, rms
from robustkit.loading.data import load_data


def read(split):
    return next(batches(load_data("digits", split=split), 1 << 20))


@pytest.fixture(scope="module")
def planted():
    """Digits with ten of each defect; returns training and test samples and the planted ids by kind."""
    train, test, chance = read("train"), read("test"), generator(1)
    turn = torch.randperm(1200, generator=chance)
    parts = {name: turn[10 * i : 10 * i + 10] for i, name in enumerate(("copied", "moved", "nan", "range", "outlier"))}
    flipped = turn[100:160]
    x, y = train.x.clone(), train.y.clone()
    y[flipped] = (y[flipped] + torch.randint(1, 10, (60,), generator=chance)) % 10
    x[parts["nan"], 0, 3, 3] = torch.nan
    x[parts["nan"][0], 0, 0, :2] = torch.inf
    x[parts["range"], 0, 2, 2] = torch.tensor([1.5, -0.25]).repeat(5)
    x[parts["outlier"][:5]] = torch.rand(5, 1, 8, 8, generator=chance)
    scattered = torch.randperm(64, generator=chance)
    x[parts["outlier"][5:]] = x[parts["outlier"][5:]].flatten(1)[:, scattered].reshape(5, 1, 8, 8)

    def noisy(images):
        return (images + 0.02 * torch.randn(images.shape, generator=chance)).clamp(0, 1)

    new = [x[parts["copied"]], noisy(x[parts["moved"]]), test.x[:10], noisy(test.x[10:20])]
    labels = [y[parts["copied"]], y[parts["moved"]], test.y[:20]]
    size = len(x)
    ids = torch.arange(size + 40) * 3 + 5  # positions and ids differ
    kinds = {
        "duplicate": range(size, size + 10),
        "near": range(size + 10, size + 20),
        "leak": range(size + 20, size + 40),
    }
    where = {kind: set(ids[list(rows)].tolist()) for kind, rows in kinds.items()}
    where |= {kind: set(ids[parts[kind]].tolist()) for kind in ("nan", "range", "outlier")}
    where["label"] = set(ids[flipped].tolist())
    originals = ids[torch.cat([parts["copied"], parts["moved"]])].tolist()
    return Batch(torch.cat([x, *new]), torch.cat([y, *labels]), ids), test, where, originals


@pytest.fixture(scope="module")
def found(planted):
    return clean(planted[0], planted[1])


def numbers(issues):
    return {int(issue.id) for issue in issues}


@pytest.mark.parametrize("kind", ["nan", "range", "duplicate", "near", "leak"])
def test_every_planted_defect_that_can_be_seen_for_sure_is_found_and_nothing_else(found, planted, kind):
    assert numbers(found.of(kind)) == planted[2][kind]
    assert not found.of(kind, "test")


def test_most_planted_label_errors_are_found_with_few_false_alarms_and_the_right_class(found, planted):
    train, _, where, _ = planted
    suspects, wrong = numbers(found.of("label")) - where["outlier"], where["label"]  # an outlier has no right label
    assert len(suspects & wrong) >= 0.75 * len(wrong)
    assert len(suspects & wrong) >= 0.8 * len(suspects)
    assert found.label_share == pytest.approx(60 / len(train.y), abs=0.02)
    truth = dict(zip(train.ids.tolist(), read("train").y.tolist(), strict=False))
    right = [issue.suggestion == truth[int(issue.id)] for issue in found.of("label") if int(issue.id) in wrong]
    assert sum(right) >= 0.9 * len(right)


def test_planted_outliers_are_found_with_few_others(found, planted):
    outliers = numbers(found.of("outlier"))
    assert outliers >= planted[2]["outlier"]
    assert len(outliers) <= 10 + 0.015 * len(planted[0])


def test_partners_and_scores_are_the_evidence(found, planted):
    train, test, _, originals = planted
    copies = sorted((*found.of("duplicate"), *found.of("near")), key=lambda issue: int(issue.id))
    assert [issue.partner for issue in copies] == [f"train {number}" for number in originals]
    leaks = sorted(found.of("leak"), key=lambda issue: int(issue.id))
    assert [issue.partner for issue in leaks] == [f"test {number}" for number in test.ids[:20].tolist()]
    assert [issue.partner_label for issue in leaks] == test.y[:20].tolist()
    assert [issue.score for issue in leaks[:10]] == [0] * 10
    row = {number: place for place, number in enumerate(train.ids.tolist())}
    for issue in leaks[10:]:
        other = test.x[[int(issue.partner.split()[1])]]
        assert issue.score == pytest.approx(float(rms(train.x[[row[int(issue.id)]]], other)[0]))
        assert 0 < issue.score <= found.radius
    assert sorted(issue.score for issue in found.of("nan")) == [1] * 9 + [3]
    assert sorted(issue.score for issue in found.of("range")) == pytest.approx([0.25] * 5 + [0.5] * 5)


@pytest.mark.slow
def test_clean_digits_have_next_to_no_issues():
    result = clean(read("train"), read("test"))
    counts = {kind: len(result.of(kind)) for kind in KINDS}
    assert counts["label"] <= 0.01 * 1297
    assert counts["outlier"] <= 0.01 * 1297
    assert not any(counts[kind] for kind in ("nan", "range", "duplicate", "near", "leak"))
    first = read("train").rows(0, 200)
    assert clean(first, seed=3) == clean(first, seed=3)


def test_a_copy_with_another_label_shows_both_labels():
    train = read("train")
    twin = Batch(torch.cat([train.x[:50], train.x[:1]]), torch.cat([train.y[:50], train.y[:1] + 1]), torch.arange(51))
    (issue,) = clean(twin).of("duplicate")
    assert (issue.id, issue.partner, issue.label - issue.partner_label) == ("50", "train 0", 1)


def test_bounds_decide_what_is_out_of_range():
    train = read("train").rows(0, 100)
    data = Batch(train.x * 255, train.y, train.ids)
    assert not clean(data, bounds=(0, 255)).of("range")
    assert len(clean(data).of("range")) == 100


def test_few_or_lonely_samples_are_said_not_to_be_judged():
    train = read("train")
    few = Batch(train.x[:10], train.y[:10], train.ids[:10])
    result = clean(few)
    assert (result.radius, result.label_share, result.issues) == (None, None, ())
    assert "10 different samples are too few" in result.notes[0]
    one = dataclasses.replace(train, y=torch.zeros_like(train.y))
    assert "expected two classes or more" in clean(one).notes[0]
    lonely = one.y.clone()
    lonely[0] = 3
    assert clean(dataclasses.replace(train, y=lonely)).label_share is None


@pytest.mark.slow
def test_labels_are_not_judged_by_predictions_that_are_mostly_wrong_themselves():
    train = read("train")
    guessed = dataclasses.replace(train, y=torch.randint(0, 10, train.y.shape, generator=generator(4)))
    result = clean(guessed)
    assert not result.of("label")
    assert result.label_share is None
    assert result.accuracy == pytest.approx(0.1, abs=0.05)
    assert "% needed to judge; give those of a better model" in result.notes[0]


def test_probabilities_of_a_better_model_may_be_given(in_folder, capsys):
    train = read("train")
    wrong = dataclasses.replace(train, y=train.y.clone())
    wrong.y[[3, 70]] = (wrong.y[[3, 70]] + 1) % 10
    truth = np.eye(12)[train.y.numpy()] * 0.88 + 0.01
    result = clean(wrong, probabilities=truth)
    assert [(issue.id, issue.suggestion) for issue in result.of("label")] == [
        (str(i), int(train.y[i])) for i in (3, 70)
    ]
    assert result.accuracy == pytest.approx(1 - 2 / 1297)
    np.save("truth.npy", truth)
    assert run(["clean-data", "--data", "digits", "--probabilities", "truth.npy"]) == 0
    assert "about 0.0 % of labels wrong; predictions agree with 100.0 %" in capsys.readouterr().out
    np.save("few.npy", truth[:5])
    assert run(["clean-data", "--data", "digits", "--probabilities", "few.npy"]) == 2
    assert "expected probabilities (1297, 10 or more)" in capsys.readouterr().err
    assert run(["clean-data", "--data", "digits", "--probabilities", "no.npy"]) == 2
    assert "expected an .npy file of finite floats, got 'no.npy'" in capsys.readouterr().err


def test_predictions_that_are_too_bad_to_count_errors_may_still_rank_labels():
    train = read("train")
    wrong = dataclasses.replace(train, y=train.y.clone())
    wrong.y[[3, 70]] = (wrong.y[[3, 70]] + 1) % 10
    p = np.eye(10)[train.y.numpy()] * 0.88 + 0.012
    p[500:1000] = 0.2 * p[500:1000] + 0.8 * np.roll(p[500:1000], 1, axis=1)  # 61 % of the predictions are right
    p[[3, 70]] = np.eye(10)[train.y[[3, 70]].numpy()]
    result = clean(wrong, probabilities=p)
    assert result.label_share is None
    assert len(result.of("label")) == 25  # 2 % of 1297
    assert {issue.id for issue in result.of("label")[:2]} == {"3", "70"}
    assert "the 2 % least probable are listed to look at" in result.notes[0]


def test_test_data_of_another_shape_are_refused():
    train = read("train")
    other = Batch(train.x[:, :, :4], train.y, train.ids)
    with pytest.raises(ConfigurationError, match=r"expected test inputs of shape \(1, 8, 8\) .* got \(1, 4, 8\)"):
        clean(train, other)


@pytest.mark.slow
def test_near_copies_are_never_on_both_sides_of_a_fold(planted, monkeypatch):
    train, test, where, originals = planted
    seen = {}

    def spy(described, labels, groups, seed):
        seen["groups"] = groups
        return out_of_fold(described, labels, groups, seed)

    monkeypatch.setattr("robustkit.data.cleaning.out_of_fold", spy)
    clean(train, test)
    gone = where["nan"] | where["duplicate"] | set(train.ids[-20:-10].tolist())  # not finite, exact copies, exact leaks
    left = [number for number in train.ids.tolist() if number not in gone]
    group = dict(zip(left, seen["groups"].tolist(), strict=True))
    pairs = zip(sorted(where["near"]), originals[10:], strict=True)
    assert all(group[copy] == group[original] for copy, original in pairs)
    assert len(set(group.values())) == len(left) - 10


@pytest.fixture
def folder(in_folder, planted):
    train, test, *_ = planted
    np.savez(in_folder / "train.npz", images=train.x.numpy(), labels=train.y.numpy())
    np.savez(in_folder / "test.npz", images=test.x.numpy(), labels=test.y.numpy())
    return in_folder


@pytest.mark.slow
def test_the_command_shows_and_writes_what_was_found_and_drops_only_what_was_asked(folder, planted, capsys):
    line = ["clean-data", "--data", "train.npz", "--test-data", "test.npz"]
    assert run([*line, "--drop", "nan,range,leak", "--out", "clean.npz"]) == 0
    out = capsys.readouterr().out
    assert "train.npz: 1337 training and 500 test samples" in out
    assert "kept 1297 of 1337 samples in clean.npz" in out
    rows = {
        line.split()[0]: line.split()[1:3] for line in out.splitlines() if line.split()[:1] and line.split()[0] in KINDS
    }
    assert (rows["leak"], rows["nan"]) == (["20", "-"], ["10", "0"])
    assert "leak, 5 of 20" in out
    assert max(map(len, out.splitlines())) <= 80
    written = json.loads((folder / "robustkit-cleaning/cleaning.json").read_text())
    table = list(csv.DictReader((folder / "robustkit-cleaning/cleaning.csv").read_text().splitlines()))
    assert len(table) == len(written["issues"]) > 100
    left = next(batches(load_data("clean.npz"), 1 << 20))
    again = clean(left, planted[1])
    assert not any(again.of(kind) for kind in ("nan", "range", "leak"))
    assert len(again.of("duplicate")) == 10
