"""`robustkit clean-data`: what it prints, what it writes, and that nothing is dropped unasked."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from nets import generator

from robustkit.cli import run


def test_without_being_asked_nothing_is_dropped(in_folder, capsys):
    assert run(["clean-data", "--data", "digits", "--limit", "300", "--show", "0"]) == 0
    assert [path.name for path in in_folder.iterdir()] == ["robustkit-cleaning"]
    assert "digits: 300 training and 300 test samples" in capsys.readouterr().out


def test_stored_bytes_stay_bytes(in_folder):
    x = torch.randint(0, 256, (30, 8, 8), generator=generator(0)).byte().numpy()
    np.savez(in_folder / "grey.npz", images=x, labels=np.arange(30) % 3)
    assert run(["clean-data", "--data", "grey.npz", "--drop", "nan", "--out", "same.npz"]) == 0
    with np.load(in_folder / "same.npz") as file:
        assert file["images"].dtype == np.uint8
        assert (file["images"][:, 0] == x).all()


def test_a_network_that_is_trained_per_fold_judges_the_labels(in_folder, capsys):
    x = torch.rand(90, 1, 8, 8, generator=generator(0))
    y = torch.arange(90) % 2
    x = 0.4 * x + 0.5 * y[:, None, None, None]
    labels = y.clone()
    wrong = [7, 20, 33, 48, 61, 74]
    labels[wrong] = 1 - labels[wrong]
    x[3, 0, 0, 0] = 1.5  # out of range: an issue, not the end
    np.savez(in_folder / "two.npz", images=x.numpy(), labels=labels.numpy())
    words = ["clean-data", "mlp", "--data", "two.npz", "--bounds", "0,1", "--folds", "3", "--epochs", "20", "--quiet"]
    assert run([*words, "--lr", "0.01", "--batch-size", "16"]) == 0
    assert "predictions: mlp trained per fold, out of fold" in capsys.readouterr().out
    found = json.loads((in_folder / "robustkit-cleaning" / "cleaning.json").read_text())
    suspects = {int(issue["id"]) for issue in found["issues"] if issue["kind"] == "label"}
    assert suspects
    assert suspects <= {*wrong}
    assert [issue["id"] for issue in found["issues"] if issue["kind"] == "range"] == ["3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--drop", "leak"], "expected --drop and --out together"),
        (["--out", "x.npz"], "expected --drop and --out together"),
        (["--drop", "leek", "--out", "x.npz"], "did you mean 'leak'"),
        (["--drop", "leak", "--out", "x.csv"], "ends in .npz"),
        (["--bounds", "1,0"], "two rising numbers"),
        (["--data", "digit"], "did you mean 'digits'"),
        (["--near", "2"], "--near"),
        (["--folds", "3"], "expected MODEL with --folds"),
        (["--epochs", "3"], "expected MODEL with --folds"),
        (["--weights", "w.pt"], "--weights: expected MODEL with it"),
        (["cnn", "--folds", "1"], "--folds"),
        (["cnn", "--probabilities", "p.npy"], "expected them or MODEL, got both"),
        (["cmn"], "did you mean 'cnn'"),
        (["--bounds", "5,6", "--drop", "range", "--out", "x.npz"], "expected something to be left"),
    ],
)
def test_mistakes_are_one_line_with_exit_code_2(in_folder, capsys, words, message):
    assert run(["clean-data", "--data", "digits", "--limit", "100", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
