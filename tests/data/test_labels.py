"""Labels in every spelling people use, and the names of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit.base.errors import InvalidEvaluation
from robustkit.data.labels import as_labels, as_tensor, names_of_classes, read_labels

Y = torch.tensor([3, 1, 4, 1, 5, 9, 2])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("make", [np.asarray, lambda a: torch.from_numpy(np.asarray(a))])
def test_labels_of_every_integer_type_and_shape_become_int64(dtype: str, make: Any) -> None:
    plain = Y.numpy().astype(dtype)
    one_hot = np.eye(10, dtype=dtype)[Y.numpy()]
    for y in (plain, plain[:, None], one_hot):
        found = as_labels(make(y), num_classes=10)
        assert found.dtype == torch.int64
        assert found.tolist() == Y.tolist()


def test_binary_one_hot_rows_are_read_as_one_hot() -> None:
    assert as_labels([[0, 1], [1, 0], [0, 1]]).tolist() == [1, 0, 1]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_one_hot_and_index_agree(y: list[int]) -> None:
    assert as_labels(torch.nn.functional.one_hot(torch.tensor(y), 5), 5).tolist() == as_labels(y, 5).tolist() == y


@pytest.mark.parametrize(
    ("y", "found"),
    [
        (torch.tensor([0.0, 1.0]), r"shape \(2,\) and dtype torch.float32"),
        (np.eye(3), r"shape \(3, 3\) and dtype torch.float64"),
        (torch.tensor([True, False]), "dtype torch.bool"),
        (torch.tensor(3), r"shape \(\)"),
        (torch.zeros(2, 3, 1, dtype=torch.int64), r"shape \(2, 3, 1\)"),
        ([[1, 1], [0, 1]], "not one-hot"),
        ([[0, 0], [0, 1]], "not one-hot"),
        ([[2, -1], [0, 1]], "not one-hot"),
        (["cat", "dog"], r"list \"\['cat', 'dog'\]\""),
        (np.array([None, 1]), "ndarray"),
        ([[1], [2, 3]], "list"),
    ],
)
def test_any_other_label_is_refused_with_what_was_found(y: Any, found: str) -> None:
    with pytest.raises(InvalidEvaluation, match=found):
        as_labels(y)


def test_labels_out_of_range_are_refused_with_range_and_position() -> None:
    expected = r"expected 0\.\.9 for 10 classes, got 1..10 \(first at position 2\)"
    with pytest.raises(InvalidEvaluation, match=expected):
        as_labels([1, 9, 10, 10], num_classes=10)
    with pytest.raises(InvalidEvaluation, match=r"expected 0 or more, got -1..4 \(first at position 1\)"):
        as_labels([4, -1])
    with pytest.raises(InvalidEvaluation, match=r"one-hot rows of 10 classes, got .*3, 3"):
        as_labels(np.eye(3, dtype=np.int64), num_classes=10)


def test_no_labels_are_still_labels() -> None:
    assert as_labels(torch.zeros(0, dtype=torch.int32), 10).shape == (0,)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([("a", "b"), ("c", "d")], ("a", "b")),
        ([None, ("c", "d")], ("c", "d")),
        ([(), ["c", "d"]], ("c", "d")),
        ([("a",), ("c", "d")], ("0", "1")),
        ([("a", "b", "c"), None], ("0", "1")),
        ([None, None], ("0", "1")),
        ([], ("0", "1")),
    ],
)
def test_classes_are_called_by_the_first_names_known_or_by_numbers(known, expected) -> None:
    assert names_of_classes(2, *known) == expected


def test_a_tensor_shares_the_memory_of_an_array_unless_it_is_read_only() -> None:
    array = np.zeros(2)
    shared = as_tensor(array)
    array.setflags(write=False)
    apart = as_tensor(array)
    shared[0], apart[1] = 1.0, 2.0
    assert array.tolist() == [1, 0]


@pytest.mark.parametrize("y", [[1, 2**62], np.array([1.0, 1e300]), ["1", "9" * 400]])
def test_a_label_that_is_no_index_of_a_class_is_refused(y: Any) -> None:
    with pytest.raises(InvalidEvaluation, match=r"class indices below|whole numbers"):
        read_labels(y)


def test_names_in_another_encoding_are_still_names() -> None:
    assert read_labels(np.array([b"1", b"\xff"])).names == ("1", "\\xff")
