"""CSV, TSV, Parquet and DataFrames as data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nets import linear

import robustkit
from robustkit.attacks import FGSM
from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import Batch, Dataset, batches
from robustkit.data.tables import from_frame
from robustkit.loading.data import load_data
from robustkit.model.classifier import Classifier

ROWS = "0.5,0.25,cat\n1,0,dog\n0.125,0.75,cat\n"


def csv(folder: Path, text: str, name: str = "table.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def read(data: Dataset) -> Batch:
    return next(batches(data, 100))


def test_a_csv_gives_its_numbers_in_order_and_texts_as_class_names(tmp_path: Path) -> None:
    data = load_data(csv(tmp_path, "a,b,label\n" + ROWS))
    assert read(data).x.tolist() == [[0.5, 0.25], [1, 0], [0.125, 0.75]]
    assert read(data).x.dtype == torch.float32
    assert read(data).y.tolist() == [0, 1, 0]
    assert (data.class_names, data.labelled_by_name) == (("cat", "dog"), True)
    assert data.feature_names == ("a", "b")
    assert data.notes[0] == "features are the 2 columns a, b, all perturbed within one eps; labels are 'label'"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a;b;label\n" + ROWS.replace(",", ";"), "semicolons.csv"),
        ("a\tb\tlabel\n" + ROWS.replace(",", "\t"), "tabs.tsv"),
        ("\ufeffa,b,label\n" + ROWS, "bom.csv"),
        ("a,b,label\r\n" + ROWS.replace("\n", "\r\n"), "windows.csv"),
        (' a ,b, Label\n"0.5", 0.25 ,cat\n1e0,0,"dog"\n.125,+0.75, cat \n\n', "spaces.csv"),
    ],
)
def test_csv_files_of_other_programs_are_read(tmp_path: Path, text: str, name: str) -> None:
    data = load_data(csv(tmp_path, text, name))
    assert read(data).x.tolist() == [[0.5, 0.25], [1, 0], [0.125, 0.75]]
    assert read(data).y.tolist() == [0, 1, 0]


def test_labels_that_pandas_wrote_as_floats_are_class_indices(tmp_path: Path) -> None:
    data = load_data(csv(tmp_path, "a,label\n0,1.0\n1,0.0\n"))
    assert read(data).y.tolist() == [1, 0]
    assert data.class_names is None
    assert data.notes[1:] == ("labels were stored as texts", "labels were stored as floating-point numbers")


@pytest.mark.parametrize("column", ["labels", "y", "Target", "class"])
def test_the_usual_names_of_the_label_column_are_known(tmp_path: Path, column: str) -> None:
    assert read(load_data(csv(tmp_path, f"{column},a,b\n1,0,1\n0,1,0\n"))).y.tolist() == [1, 0]


def test_another_label_column_is_named(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,quality,label\n0,2,0.5\n1,1,0.25\n")
    data = load_data(path, label_column="quality")
    assert read(data).y.tolist() == [2, 1]
    assert read(data).x.tolist() == [[0, 0.5], [1, 0.25]]
    with pytest.raises(ConfigurationError, match="a column 'grade', got a, quality, label; correct it"):
        load_data(path, label_column="grade")


def test_a_column_of_ids_names_the_samples(tmp_path: Path) -> None:
    assert read(load_data(csv(tmp_path, "id,a,label\n30,0,1\n7,1,0\n"))).ids.tolist() == [30, 7]
    assert read(load_data(csv(tmp_path, "ID,a,label\nx-1,0,1\nx-2,1,0\n"))).names == ["x-1", "x-2"]


def test_the_row_numbers_that_pandas_writes_are_no_feature(tmp_path: Path) -> None:
    data = load_data(csv(tmp_path, ",a,label\n0,0.5,1\n1,1,0\n"))
    assert read(data).x.tolist() == [[0.5], [1]]
    assert "number of each row was left out" in data.notes[-1]
    with pytest.raises(ConfigurationError, match="a name for every column, got one without, with '3'; name it"):
        load_data(csv(tmp_path, ",a,label\n3,0.5,1\n1,1,0\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,label\n0,,1\n1,0,0\n", "row 1 of column 'b', got ''; fill it in"),
        ("a,b,label\n0,1,1\n1,nan,0\n0,inf,1\n", "row 2 of column 'b', got 'nan' and 1 more rows"),
        ("a,b,label\n0,1,1\nred,1,0\n", "row 2 of column 'a', got 'red'"),
        ("a,b,label\n0,1_0,1\n", "row 1 of column 'b', got '1_0'"),
        ("a,b,label\n0,1e300,1\n", "row 1 of column 'b', got '1e300'"),
        ("a,b\n0,1\n", "one column of labels, called label or .* got a, b; name it: --label-column"),
        ("label,y,a\n0,1,1\n", "one column of labels, .* got label, y; name it"),
        ("a,a,label\n0,1,1\n", "different names of columns, got 'a' twice"),
        ("0.5,0.25,1\n1,0,0\n", "names of the columns in the first line, got numbers, '0.5' first"),
        ("a,b,label\n0,1\n", "3 cells in row 1, got 2"),
        ("a,b,label\n", "a line of names and rows, got no row"),
        ("", "got no row"),
        ('a,label\n"0.5,1\n', "a readable table"),
        ("label\n0\n1\n", "columns of numbers beside the labels, got none"),
        ("a,label\n0,\n1,x\n", "column 'label': labels: expected one for every sample, got none in row 0"),
        ("a,label\n0,0.5\n1,1\n", "column 'label': labels: expected whole numbers .* got 0.5 in row 0"),
        ("a,label\n0,cat\n1,NaN\n", "column 'label': labels: expected one for every sample, got none in row 1"),
    ],
)
def test_a_table_with_something_else_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_data(csv(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_values_outside_0_to_1_need_bounds_and_the_line_to_type_is_given(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,b,label\n-3.2,17.75,1\n0,5,0\n")
    with pytest.raises(ConfigurationError, match=r"within 0..1, got -3.2..17.75; .* --bounds=-4,18, or Classifier"):
        load_data(path)
    assert load_data(path, bounds=(-4, 18)).bounds == (-4, 18)
    with pytest.raises(ConfigurationError, match=r"within -1..18, got -3.2"):
        load_data(path, bounds=(-1, 18))


def test_one_array_in_a_file_is_no_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(ConfigurationError, match=r"one array; save both in one: np.savez\('data.npz', x=x, y=y\)"):
        load_data(tmp_path / "x.npy")


def test_without_pyarrow_a_parquet_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigurationError, match="expected pyarrow to be installed; pip install pyarrow"):
        load_data(tmp_path / "table.parquet")


def test_a_parquet_file_is_read_like_a_csv(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": [0.5, 1], "b": [0, 1], "label": ["cat", "dog"]})
    frame.to_parquet(tmp_path / "table.parquet")
    data = load_data(tmp_path / "table.parquet")
    assert read(data).x.tolist() == [[0.5, 0], [1, 1]]
    assert data.class_names == ("cat", "dog")
    frame.set_axis([9, 4]).to_parquet(tmp_path / "table.pq")
    assert read(load_data(tmp_path / "table.pq")).ids.tolist() == [9, 4]


# DataFrames


def frame(**columns: Any) -> Any:
    return pytest.importorskip("pandas").DataFrame(columns)


def test_a_frame_and_a_pair_of_frame_and_series_are_evaluated_like_arrays() -> None:
    random = np.random.default_rng(0)
    x = random.random((40, 3)).astype(np.float32)
    y = (x[:, 1] > x[:, 0]).astype(int)
    model = linear(torch.tensor([[1.0, -1, 0], [-1, 1.0, 0]]))
    table = frame(a=x[:, 0], b=x[:, 1], c=x[:, 2], label=y)
    runs = [
        robustkit.evaluate(model, data, [FGSM(eps=0.1)])
        for data in (table, (table[["a", "b", "c"]], table["label"]), (x, y))
    ]
    assert len({run.ledger.to_csv() for run in runs}) == 1


def test_text_labels_of_an_array_are_class_names() -> None:
    x = torch.rand((4, 3))
    found = robustkit.evaluate(linear(torch.eye(3)[:2] - 1), (x, ["no", "yes", "no", "yes"]), [FGSM(eps=0.1)])
    assert found.ledger["label"].tolist() == [0, 1, 0, 1]
    assert found.dataset.class_names == ("no", "yes")


def test_the_index_of_a_frame_that_was_drawn_from_another_names_the_samples() -> None:
    whole = frame(a=[0.0, 0.5, 1.0], label=[0, 1, 1])
    assert read(from_frame(whole.iloc[[2, 0]])).ids.tolist() == [2, 0]
    assert read(from_frame(whole)).ids.tolist() == [0, 1, 2]
    assert read(from_frame(whole.set_axis(["x", "y", "z"]))).names == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [0.5, None], "label": [0, 1]}, "row 2 of column 'a', got 'nan'"),
        ({"a": [0.5, 1.0], "b": ["x", "y"], "label": [0, 1]}, "row 1 of column 'b', got 'x'"),
        ({"a": [0.5, 1.0], "label": ["cat", None]}, "got none in row 1"),
        ({"a": [0.5, 300.0], "label": [0, 1]}, r"Classifier\(model, bounds=\(0, 300\)\)"),
        ({"a": [0.5, 1.0], "b": [0, 1]}, "one column of labels"),
        ({"a": np.array(["2020-01-01", "2020-01-02"], "datetime64[s]"), "label": [0, 1]}, "row 1 of column 'a'"),
    ],
)
def test_a_frame_with_something_else_is_refused(columns: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        from_frame(frame(**columns))


def test_bounds_of_the_classifier_are_those_of_a_frame() -> None:
    table = frame(a=[-2.0, 3.0], b=[0.0, 1.0], label=[0, 1])
    model = Classifier(linear(torch.eye(2)), bounds=(-5, 5))
    assert robustkit.evaluate(model, table, [FGSM(eps=0.1)]).dataset.bounds == (-5, 5)
    with pytest.raises(ConfigurationError, match="say what values can be"):
        robustkit.evaluate(linear(torch.eye(2)), table, [FGSM(eps=0.1)])
