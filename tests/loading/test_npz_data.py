"""`.npz` files by people who write them otherwise: names, labels, layouts, types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import Dataset, batches
from robustkit.loading.npz_data import read_npz, with_fitting_axes
from robustkit.model.classifier import Classifier

X, Y = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6), np.array([0, 2, 1, 2])


def npz(folder: Path, *unnamed: Any, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", *unnamed, **arrays)
    return folder / "data.npz"


def labels(data: Dataset) -> list[int]:
    return next(batches(data, 100)).y.tolist()


def shape(data: Dataset) -> tuple[int, ...]:
    return tuple(next(batches(data, 100)).x.shape)


# names


@pytest.mark.parametrize(
    ("x", "y"),
    [("x_test", "y_test"), ("X", "Y"), ("data", "target"), ("image", "label"), ("test_images", "test_labels"),
     ("features", "targets"), ("Data", "Labels"), ("arr_0", "arr_1")],
)  # fmt: skip
def test_the_usual_names_are_accepted_and_said(tmp_path: Path, x: str, y: str) -> None:
    data = read_npz(npz(tmp_path, **{x: X, y: Y}))
    assert labels(data) == Y.tolist()
    assert data.notes == (f"'{x}' was read as inputs and '{y}' as labels",)


def test_of_several_splits_that_which_was_asked_for_is_read(tmp_path: Path) -> None:
    path = npz(tmp_path, x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2], val_x=X[:3], val_y=Y[:3])
    for split, count in (("train", 4), ("test", 2), ("val", 3), ("validation", 3)):
        data = read_npz(path, split)
        assert (len(labels(data)), data.split) == (count, "val" if split.startswith("val") else split)
    with pytest.raises(ConfigurationError, match=r"split 'extra'.*name one of \['test', 'train', 'val'\]"):
        read_npz(path, "extra")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "images": X, "y": Y}, "one array with the inputs, got x, images; keep"),
        ({"x": X, "y": Y, "target": Y}, "with the labels, got y, target; keep"),
        ({"x": X, "X": X, "y": Y}, "with the inputs, got x, X"),
        ({"pixels": X, "y": Y}, "arrays 'images' .*, got pixels, y; rename"),
        ({"arr_0": X, "arr_1": Y, "arr_2": Y}, "got arr_0, arr_1, arr_2"),
        ({"x_train": X, "y_train": Y}, r"split 'test', got x_train, y_train; name one of \['train'\]"),
    ],
)
def test_names_that_could_be_meant_otherwise_are_refused(tmp_path: Path, arrays: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_npz(npz(tmp_path, **arrays))


# labels


@pytest.mark.parametrize(
    ("y", "noted"),
    [
        (Y.astype(float), "floating-point"),
        (Y.astype(np.float16)[:, None], "floating-point"),
        (np.eye(3, dtype=np.float32)[Y], "floating-point"),
        (np.eye(3, dtype=bool)[Y], None),
        (np.array(["0", "2", "1", "2"]), "texts"),
        (Y[:, None].astype(np.uint8), None),
    ],
)
def test_labels_with_one_plain_reading_are_read(tmp_path: Path, y: Any, noted: str | None) -> None:
    data = read_npz(npz(tmp_path, x=X, y=y))
    assert labels(data) == Y.tolist()
    assert [noted in note for note in data.notes] == [True] if noted else data.notes == ()


def test_texts_are_class_names(tmp_path: Path) -> None:
    data = read_npz(npz(tmp_path, x=X, y=np.array(["cat", "dog", "cat", "ape"])))
    assert labels(data) == [1, 2, 1, 0]
    assert data.class_names == ("ape", "cat", "dog")
    assert data.labelled_by_name


def test_false_and_true_are_two_classes(tmp_path: Path) -> None:
    data = read_npz(npz(tmp_path, x=X, y=Y == 2))
    assert labels(data) == [0, 1, 0, 1]
    assert "False and True" in data.notes[0]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([0, 1.5, 1, 2]), "whole numbers or one-hot rows, got 1.5 in row 1"),
        (np.array([0, 1, np.nan, 2]), "got nan in row 2"),
        (np.full((4, 2), 0.5), r"got \[0.5, 0.5\] in row 0"),
        (np.array(["a", "", "b", "c"]), "expected one for every sample, got none in row 1"),
        (np.array([-1, 1, 1, -1]), r"got -1..1 .*use 0 and 1: \(y \+ 1\) // 2"),
        (Y[None], r"expected integers \(N,\)"),
        (np.ones((4, 2, 1), int), "shape"),
    ],
)
def test_labels_without_one_are_refused(tmp_path: Path, y: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_npz(npz(tmp_path, x=X, y=y))
    assert "\n" not in str(caught.value)


# layouts and types


@pytest.mark.parametrize(
    ("stored", "dtype", "expected"),
    [
        ((4, 2, 128), np.float32, (4, 2, 128)),  # a signal
        ((4, 28, 28), np.float32, (4, 28, 28)),  # the model decides
        ((4, 1, 64), np.uint8, (4, 1, 64)),  # bytes of a signal
        ((4, 2, 128), np.uint8, (4, 2, 128)),
        ((4, 28, 20), np.uint8, (4, 1, 28, 20)),  # grey images
    ],
)
def test_signals_keep_their_shape_and_grey_images_get_a_channel(
    tmp_path: Path, stored: tuple[int, ...], dtype: Any, expected: tuple[int, ...]
) -> None:
    assert shape(read_npz(npz(tmp_path, x=np.ones(stored, dtype), y=Y))) == expected


class Lines(nn.Module):
    """Takes signals (N, 8, 8) of eight channels only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean(-1)


class Pictures(nn.Module):
    """Takes images (N, 1, H, W) only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((-1, -2))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_where_both_readings_are_possible_the_model_decides(tmp_path: Path, dtype: Any) -> None:
    data = read_npz(npz(tmp_path, x=np.ones((4, 8, 8), dtype), y=Y))
    lines, pictures = (with_fitting_axes(data, Classifier(model()).takes) for model in (Lines, Pictures))
    assert shape(lines) == (4, 8, 8)
    assert shape(pictures) == (4, 1, 8, 8)
    told = "images (N, H, W) were given a channel axis"
    assert (told in lines.notes, told in pictures.notes) == (False, True)
    both = with_fitting_axes(data, Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 3))).takes)
    assert both is data


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.int16, np.complex64])
def test_pixels_of_which_the_scale_is_not_known_are_refused_with_the_fix(tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"uint8 or float, got shape .* dtype {np.dtype(dtype)} in 'x'; save"):
        read_npz(npz(tmp_path, x=np.ones((4, 8, 8), dtype), y=Y))


def test_odd_and_encrypted_members_are_one_line(tmp_path: Path) -> None:
    path = npz(tmp_path, x=X, y=Y)
    whole = path.read_bytes()
    entry = whole.find(b"PK\x01\x02")
    for place, value in ((8, 1), (10, 99)):  # the flag of encryption, a way of packing that nobody has
        path.write_bytes(bytes(value if at in (entry + place, place - 2) else byte for at, byte in enumerate(whole)))
        with pytest.raises(ConfigurationError, match=r"expected an \.npz file of plain arrays, got .*; save it again"):
            read_npz(path)
