"""An array of an `.npz` file is judged by its header before memory is taken for it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from robustkit.base.npz import MOST_UNPACKED, Arrays


def archive(path: Path, content: bytes, packed: int = zipfile.ZIP_STORED) -> zipfile.ZipFile:
    with zipfile.ZipFile(path, "w", packed) as file:
        file.writestr("x.npy", content)
    return zipfile.ZipFile(path)


def header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_arrays_are_those_that_were_saved(tmp_path):
    saved = {"x": np.arange(6.0).reshape(2, 3), "y": np.array(["a", "b"]), "none": np.zeros((0, 4))}
    np.savez_compressed(tmp_path / "a.npz", **saved)
    with zipfile.ZipFile(tmp_path / "a.npz") as file:
        arrays = Arrays(file, tmp_path / "a.npz")
        assert arrays.names == [*saved]
        for name, array in saved.items():
            np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header((4_000_000, 1_000_000)), "claims shape .* more than the file holds"),
        (header((-5, 4)) + b"1234", "an array of shape"),
        (b"hello", "magic string"),
        (b"", "EOF"),
    ],
)
def test_what_is_no_array_or_claims_more_than_is_there_is_refused(tmp_path, content, reason):
    with archive(tmp_path / "a.npz", content) as file, pytest.raises(ValueError, match=reason):
        Arrays(file, tmp_path / "a.npz")["x"]


def test_what_unpacks_to_far_more_than_it_has_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("robustkit.base.npz.LITTLE", 1000)
    told = pytest.raises(ValueError, match=f"more than {MOST_UNPACKED} times its size")
    with archive(tmp_path / "a.npz", header((200_000,)) + bytes(200_000), zipfile.ZIP_DEFLATED) as file, told:
        Arrays(file, tmp_path / "a.npz")
