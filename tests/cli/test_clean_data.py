"""`robustkit clean-data`: what it prints, what it writes, and that nothing is dropped unasked."""

from __future__ import annotations

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
        (["--bounds", "5,6", "--drop", "range", "--out", "x.npz"], "expected something to be left"),
    ],
)
def test_mistakes_are_one_line_with_exit_code_2(in_folder, capsys, words, message):
    assert run(["clean-data", "--data", "digits", "--limit", "100", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
