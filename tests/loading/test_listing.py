"""Tables that list image files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import Batch, batches
from robustkit.data.sampling import sampled
from robustkit.loading.data import load_data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with images of one colour, of 6 x 4 pixels."""
    (tmp_path / "val").mkdir()
    for number in range(6):
        Image.new("RGB", (6, 4), (51 * (number % 5), 0, 255)).save(tmp_path / "val" / f"{number}.png")
    return tmp_path


def listed(folder: Path, header: str, *rows: str) -> Path:
    (folder / "val.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "val.csv"


def read(data: object) -> Batch:
    return next(batches(data, 100))


@pytest.mark.parametrize("header", ["path,label", "filename,class", "image,y", "File_Name,Target"])
def test_a_table_of_paths_and_labels_gives_its_images_from_its_own_folder(
    folder: Path, header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = listed(folder, header, "val/3.png,dog", "val/0.png,cat", f"{folder}/val/1.png,dog")
    monkeypatch.chdir("/")
    data = load_data(path)
    found = read(data)
    assert found.x.shape == (3, 3, 4, 6)
    assert found.x[:, :, 0, 0].allclose(torch.tensor([[0.6, 0, 1], [0, 0, 1], [0.2, 0, 1]]))
    assert found.y.tolist() == [1, 0, 1]
    assert (data.class_names, data.labelled_by_name) == (("cat", "dog"), True)


def test_class_indices_ids_and_other_columns_are_told_apart(folder: Path) -> None:
    data = load_data(listed(folder, "id,path,label,age", "a7,val/0.png,2,30", "b1,val/1.png,0,41"))
    assert read(data).names == ["a7", "b1"]
    assert read(data).y.tolist() == [2, 0]
    assert data.notes[-1] == "columns without a use: age"


def test_a_sample_is_drawn_without_opening_an_image(folder: Path) -> None:
    data = load_data(listed(folder, "path,label", *(f"val/{i}.png,{i % 2}" for i in range(6))))
    for file in (folder / "val").iterdir():
        file.unlink()
    assert sampled(data, 2).selection == "2 of 6 samples, stratified by class (seed 0)"


def test_missing_files_and_other_sizes_are_named(folder: Path) -> None:
    path = listed(folder, "path,label", "val/0.png,0", "val/77.png,1", "0.png,1")
    with pytest.raises(
        ConfigurationError, match=r"got 2 of 3 that are missing, first '.*val/77.png'; paths start from"
    ):
        load_data(path)
    Image.new("RGB", (9, 9)).save(folder / "val" / "1.png")
    path = listed(folder, "path,label", "val/0.png,0", "val/1.png,1")
    with pytest.raises(ConfigurationError, match=r"one size, got \(6, 4\) in '.*0.png', \(9, 9\) in '.*1.png'"):
        load_data(path)
    assert read(load_data(path, image_size=3)).x.shape == (2, 3, 3, 3)


def test_a_number_called_image_is_a_feature(folder: Path) -> None:
    assert read(load_data(listed(folder, "image,label", "0,1", "1,0"))).x.tolist() == [[0], [1]]
