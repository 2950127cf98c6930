"""Image folders as people have them: strays, empty classes, splits, and files of every mode."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from robustkit.base.errors import ConfigurationError
from robustkit.data import batches
from robustkit.loading import load_data

RAMP = np.linspace(0, 1, 16).reshape(4, 4)


def write(path: Path, values: Any = None, mode: str | None = None, **options: Any) -> Path:
    """Writes an image of the values 0..1, by default a ramp in 8-bit RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(values, Image.Image):
        array = RAMP if values is None else values
        values = Image.fromarray((array * 255).round().astype(np.uint8)) if array.dtype == float else array
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def read(folder: Path, **options: Any) -> tuple[torch.Tensor, list[int], tuple[str, ...]]:
    data = load_data(folder, **options)
    batch = next(batches(data, 100))
    return batch.x, batch.y.tolist(), data.notes


def near_ramp(x: torch.Tensor) -> bool:
    return bool(((x - torch.tensor(RAMP)).abs() < 1 / 255).all())


# classes


def test_what_archives_and_desktops_leave_behind_is_neither_class_nor_sample(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/1.png"):
        write(tmp_path / name)
    for stray in (
        *("__MACOSX/cat/1.png", ".ipynb_checkpoints/1.png", ".git/1.png", "@eaDir/1.png", "cat/.hidden/1.png"),
        *("cat/__MACOSX/1.png", "dog/.ipynb_checkpoints/1-checkpoint.png", ".Trash-0/files/1.png"),
    ):
        write(tmp_path / stray)
    for stray in ("cat/._1.png", "dog/.DS_Store", "cat/Thumbs.db", "dog/desktop.ini", ".DS_Store"):
        (tmp_path / stray).write_bytes(b"no image")
    data = load_data(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert len(data.source) == 2
    assert data.notes == ()
    assert data.labelled_by_name


def test_a_hidden_folder_may_hold_the_data(tmp_path: Path) -> None:
    write(tmp_path / ".cache" / "cat" / "1.png")
    assert len(load_data(tmp_path / ".cache").source) == 1


def test_files_that_were_passed_over_are_said(tmp_path: Path) -> None:
    write(tmp_path / "cat" / "1.PNG")
    write(tmp_path / "loose.png")
    for name in ("cat/a.heic", "cat/b.heic", "README"):
        (tmp_path / name).write_bytes(b"?")
    (note,) = load_data(tmp_path).notes
    assert note.endswith("passed over: 2 .heic, 1 .png, 1 README")


def test_numeric_classes_are_in_the_order_of_numbers_and_samples_where_they_were(tmp_path: Path) -> None:
    for name in ("10", "9", "2"):
        write(tmp_path / name / "1.png")
    data = load_data(tmp_path)
    assert data.class_names == ("2", "9", "10")
    assert next(batches(data, 9)).y.tolist() == [2, 0, 1]  # ids number the files as before, by path


def test_classes_without_samples_are_classes_and_named(tmp_path: Path) -> None:
    write(tmp_path / "dog" / "1.png")
    for name in ("cat", "emu"):
        (tmp_path / name).mkdir()
    data = load_data(tmp_path)
    assert data.class_names == ("cat", "dog", "emu")
    assert data.notes == ("no images of the classes cat, emu",)


@pytest.mark.parametrize("named", ["photos", "photos/val"])
def test_a_split_has_the_classes_of_the_splits_beside_it(tmp_path: Path, named: str) -> None:
    for name in ("train/ant", "train/bee", "train/cat", "val/bee", "__MACOSX/zoo", ".x/yak"):
        write(tmp_path / "photos" / name / "1.png")
    data = load_data(tmp_path / named, split="val")
    assert data.class_names == ("ant", "bee", "cat")
    assert next(batches(data, 9)).y.tolist() == [1]


# modes


def test_grey_files_among_colour_files_do_not_make_all_grey(tmp_path: Path) -> None:
    write(tmp_path / "a" / "0.png", mode="L")
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[..., 0] = 255
    write(tmp_path / "a" / "1.png", colour)
    write(tmp_path / "b" / "2.png", mode="1")
    for options in ({}, {"image_size": 4}):
        x, _, notes = read(tmp_path, **options)
        assert x.shape == (3, 3, 4, 4)
        assert x[1, :, 0, 0].tolist() == [1, 0, 0]
        assert near_ramp(x[0])
        assert notes[-1] == "2 of 3 images are grey and were given three channels"


DEEP = {
    "16-bit png": ("png", np.uint16, 65535),
    "16-bit tiff": ("tiff", np.uint16, 65535),
    "32-bit tiff with 16-bit values": ("tiff", np.int32, 65535),
    "float tiff": ("tiff", np.float32, 1),
    "float tiff in 0..255": ("tiff", np.float32, 255),
    "16-bit pgm": ("pgm", np.uint16, 65535),
    "bytes stored as 16 bits": ("png", np.uint16, 255),
}


@pytest.mark.parametrize(("suffix", "dtype", "white"), DEEP.values(), ids=DEEP)
def test_more_than_8_bits_are_scaled_by_their_own_range(tmp_path: Path, suffix: str, dtype: Any, white: int) -> None:
    for i in range(2):
        path = tmp_path / "a" / f"{i}.{suffix}"
        values = (RAMP * white).astype(dtype)
        if suffix == "pgm":  # Pillow writes them from 10.1 on, and reads them before
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"P5 4 4 65535\n" + values.astype(">u2").tobytes())
        else:
            write(path, Image.fromarray(values))
    x, _, notes = read(tmp_path)
    assert x.shape == (2, 1, 4, 4)
    assert near_ramp(x)
    assert notes == (f"2 of 2 images have more than 8 bits; {white} was taken as white, and 8 bits were kept",)
    write(tmp_path / "a" / "colour.png", mode="RGB")
    assert near_ramp(read(tmp_path)[0].sum(1) / 3)


def test_a_dark_file_is_scaled_like_the_others(tmp_path: Path) -> None:
    write(tmp_path / "a" / "0.png", Image.fromarray(np.full((4, 4), 6553, np.uint16)))
    write(tmp_path / "a" / "1.png", Image.fromarray((RAMP * 65535).astype(np.uint16)))
    assert read(tmp_path)[0][0].mean().item() == pytest.approx(0.1, abs=1 / 255)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((RAMP * 4095).astype(np.uint16), r"got 0\.\.4095 in 1 files.* which value is white is not clear"),
        ((RAMP * 2 - 1).astype(np.float32), r"got -1\.\.1 in"),
        ((RAMP * 1e6).astype(np.float32), r"got 0\.\.1e\+06 in"),
        (RAMP.round().astype(np.int32), r"got 0\.\.1 in"),
        (np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32), r"finite values, got NaN or infinity in '.*0.tiff'"),
    ],
)
def test_a_range_without_a_plain_reading_is_refused(tmp_path: Path, values: Any, message: str) -> None:
    write(tmp_path / "a" / "0.tiff", Image.fromarray(values))
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_data(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_alpha_is_dropped_and_said(tmp_path: Path, suffix: str) -> None:
    rgba = Image.fromarray((RAMP * 255).astype(np.uint8)).convert("RGBA")
    rgba.putalpha(Image.fromarray(np.full((4, 4), 200, np.uint8)))
    write(tmp_path / "a" / f"0.{suffix}", rgba, **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    x, _, notes = read(tmp_path)
    assert near_ramp(x)
    assert notes == ("the alpha channel of 1 of 1 images was dropped, as torchvision does",)


def test_palettes_grey_with_alpha_and_cmyk_are_converted(tmp_path: Path) -> None:
    grey = Image.fromarray((RAMP * 255).astype(np.uint8))
    write(tmp_path / "la" / "0.png", grey.convert("LA"))
    assert read(tmp_path)[0].shape == (1, 1, 4, 4)
    write(tmp_path / "p" / "0.png", grey.convert("RGB").quantize(256))
    transparent = grey.convert("RGB").quantize(256)
    write(tmp_path / "p" / "1.png", transparent, transparency=bytes(range(16)))
    write(tmp_path / "cmyk" / "0.tiff", grey.convert("RGB").convert("CMYK"))
    x, y, notes = read(tmp_path)
    assert y == [0, 1, 2, 2]
    assert near_ramp(x)
    assert any(note.startswith("1 of 4 images were converted from CMYK") for note in notes)
    assert any("alpha channel of 2 of 4" in note for note in notes)


def test_of_several_images_in_a_file_the_first_is_read_and_it_is_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), level, np.uint8)) for level in (255, 0)]
    write(tmp_path / "a" / "0.tiff", frames[0], save_all=True, append_images=frames[1:])
    x, _, notes = read(tmp_path)
    assert x.min() == 1
    assert notes == ("1 of 1 files hold several images, of which only the first was read",)


def test_lab_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "a" / "0.tiff", Image.new("LAB", (4, 4)))
    with pytest.raises(ConfigurationError, match=r"grey or RGB images, got LAB in '.*0.tiff'"):
        load_data(tmp_path)


def test_files_that_cannot_be_read_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a" / "0.png")
    for name in ("1.jpg", "2.png"):
        (tmp_path / "a" / name).write_bytes(b"")
    with pytest.raises(
        ConfigurationError, match=r"2 of 3 files that cannot be read, first '.*1.jpg' \(Unid.*"
    ) as caught:
        load_data(tmp_path, image_size=4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_truncated_file_of_16_bits_is_named(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 65535, (32, 32)).astype(np.uint16)
    path = write(tmp_path / "a" / f"0.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:-700] if suffix == "png" else path.read_bytes()[:-1])
    with pytest.raises(ConfigurationError, match=rf"0\.{suffix}") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [13_000, 60_000])
def test_an_image_that_claims_an_absurd_size_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    Image.new("L", (8, 8)).save(path := tmp_path / "a.png")
    claimed = path.read_bytes()[:16] + side.to_bytes(4, "big") * 2 + path.read_bytes()[24:29]
    (tmp_path / "a").mkdir()
    whole = claimed + zlib.crc32(claimed[12:]).to_bytes(4, "big") + path.read_bytes()[33:]
    (tmp_path / "a" / "1.png").write_bytes(whole)
    with pytest.raises(ConfigurationError, match=r"expected images, got 1 of 1 .*DecompressionBomb.*repair or remove"):
        load_data(tmp_path, image_size=8)
