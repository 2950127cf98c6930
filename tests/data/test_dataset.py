"""What counts as a data set, and how it is cut into batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.dataset import Batch, Dataset, batches, text_id

X = torch.arange(7 * 3, dtype=torch.float32).reshape(7, 3) / 21
Y = torch.tensor([3, 1, 4, 1, 5, 9, 2])


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(X, Y.tolist(), strict=True))


class MapStyleWithLabelAxis:
    """As medical image sets do: one grey image (1, H, W) and a label array of shape (1,)."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return X[index].reshape(1, 3, 1).numpy(), Y[index].reshape(1).numpy()


def halves(*columns: Any) -> Iterator[tuple[Any, ...]]:
    return (tuple(c[part] for c in columns) for part in (slice(0, 3), slice(3, 7)))


SOURCES = {
    "pair of tensors": lambda: (X, Y),
    "pair of arrays": lambda: (X.numpy(), Y.numpy().astype(np.int32)),
    "pair with a list of labels": lambda: (X, Y.tolist()),
    "list of arrays": lambda: [X.numpy(), Y.numpy()],
    "TensorDataset": lambda: TensorDataset(X, Y),
    "Subset": lambda: Subset(TensorDataset(torch.cat([X, X]), torch.cat([Y, Y])), range(7, 14)),
    "IterableDataset": lambda: Stream(),
    "DataLoader of 1": lambda: DataLoader(TensorDataset(X, Y), batch_size=1),
    "DataLoader of 3": lambda: DataLoader(TensorDataset(X, Y), batch_size=3),
    "DataLoader of 100": lambda: DataLoader(TensorDataset(X, Y), batch_size=100),
    "DataLoader without batches": lambda: DataLoader(TensorDataset(X, Y), batch_size=None),
    "list of samples": lambda: list(zip(X, Y.tolist(), strict=True)),
    "generator of samples": lambda: ((x, y) for x, y in zip(X, Y, strict=True)),
    "generator of array samples": lambda: ((x.numpy(), np.int64(y)) for x, y in zip(X, Y, strict=True)),
    "generator of batches": lambda: halves(X, Y),
    "generator of list batches": lambda: ((x.tolist(), y.tolist()) for x, y in halves(X, Y)),
    "batches of one-hot labels": lambda: halves(X, torch.nn.functional.one_hot(Y, 10)),
    "batches of column labels": lambda: halves(X, Y[:, None]),
    "dict batches": lambda: ({"image": x, "label": y} for x, y in halves(X, Y)),
    "dict samples": lambda: ({"pixel_values": x, "labels": int(y)} for x, y in zip(X, Y, strict=True)),
    "batches with empty ones between": lambda: [(X[:0], Y[:0]), (X, Y), (X[:0], Y[:0])],
    "samples with metadata": lambda: ((x, int(y), i, {"k": 1}) for i, (x, y) in enumerate(zip(X, Y, strict=True))),
}


def whole(source: Any, batch_size: int = 3, limit: int | None = None) -> Batch:
    """All samples of `source` as one batch, after a check that they came in batches of the promised size."""
    found = list(batches(source, batch_size, limit))
    assert [len(b) for b in found[:-1]] == [batch_size] * (len(found) - 1)
    assert 1 <= len(found[-1]) <= batch_size
    names = None if found[0].names is None else [n for b in found for n in b.names or []]
    return Batch(*(torch.cat([getattr(b, f) for b in found]) for f in ("x", "y", "ids")), names)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_source_gives_the_same_batches(name: str, batch_size: int) -> None:
    found = whole(SOURCES[name](), batch_size)
    assert found.x.equal(X)
    assert found.y.equal(Y)
    assert found.y.dtype == torch.int64
    assert found.ids.tolist() == list(range(7))
    assert found.names is None


def test_a_dataset_stands_for_its_source() -> None:
    assert whole(Dataset(name="seven", source=(X, Y))).y.equal(Y)


def test_items_of_a_map_style_source_are_samples_even_with_a_label_axis() -> None:
    found = whole(MapStyleWithLabelAxis())
    assert found.x.shape == (7, 1, 3, 1)
    assert found.y.equal(Y)


@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any),
    batch_size=st.integers(1, 9),
    limit=st.none() | st.integers(1, 50),
)
@example(sizes=[5, 3], batch_size=3, limit=4)
def test_recutting_neither_loses_nor_reorders_samples(sizes: list[int], batch_size: int, limit: int | None) -> None:
    total = sum(sizes)
    x, y = torch.arange(total, dtype=torch.float64)[:, None], torch.arange(total)
    found = whole(zip(x.split(sizes), y.split(sizes), strict=True), batch_size, limit)
    expected = total if limit is None else min(limit, total)
    assert found.y.tolist() == found.ids.tolist() == found.x[:, 0].tolist() == list(range(expected))


def test_the_dtype_of_the_inputs_is_left_alone() -> None:
    for dtype in (torch.float16, torch.float64, torch.uint8, torch.int64):
        assert whole((X.to(dtype), Y)).x.dtype == dtype


def test_no_more_is_read_than_the_limit_needs() -> None:
    def source() -> Iterator[tuple[torch.Tensor, int]]:
        yield X[0], 0
        yield X[1], 1
        raise AssertionError("read past the limit")

    assert whole(source(), 8, limit=2).y.tolist() == [0, 1]


def test_the_source_is_streamed() -> None:
    endless = ((X[:2], torch.tensor([i, i])) for i in iter(int, 1))
    assert len(next(batches(endless, 3))) == 3


def test_read_only_arrays_are_read_without_a_warning() -> None:
    x, y = X.numpy().copy(), Y.numpy().copy()
    x.flags.writeable = y.flags.writeable = False
    assert whole((x, y)).x.equal(X)


# ids


@pytest.mark.parametrize("ids", [[5, 3, 8, 2**62, 0, 7, 9], torch.tensor([5, 3, 8, 2**62, 0, 7, 9])])
def test_integer_ids_are_used_as_they_are(ids: Any) -> None:
    for source in (halves(X, Y, ids), zip(X, Y.tolist(), ids, strict=True), (X, Y, ids)):
        found = whole(source)
        assert found.ids.tolist() == [5, 3, 8, 2**62, 0, 7, 9]
        assert found.names is None


def test_text_ids_keep_their_names_and_get_stable_numbers() -> None:
    names = [f"patient-{i}" for i in range(7)]
    expected = [int.from_bytes(hashlib.sha256(n.encode()).digest()[:8], "big") // 2 for n in names]
    loader = DataLoader(list(zip(X, Y.tolist(), names, strict=True)), batch_size=4)
    for source in (loader, zip(X, Y.tolist(), names, strict=True), (X, Y, np.array(names))):
        found = whole(source)
        assert found.names == names
        assert found.ids.tolist() == expected


def test_the_number_of_a_text_id_never_changes() -> None:
    assert text_id("abc") == 0xBA7816BF8F01CFEA >> 1


@pytest.mark.parametrize(
    ("ids", "named"),
    [([0, 1, 2, 1], "'1' twice"), (["a", "b", "c", "b"], "'b' twice"), ([0, 0, 1, 2], "'0' twice")],
)
@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_a_repeated_id_is_named(ids: list[Any], named: str, batch_size: int) -> None:
    with pytest.raises(InvalidEvaluation, match=named):
        list(batches((X[:4], Y[:4], ids), batch_size))


@pytest.mark.parametrize("ids", [[0, 1.5], [0, -1], [0, True], [0, 2**63], [[0, 1], [2, 3]], "ab", [0]])
def test_ids_that_are_neither_text_nor_integer_from_0_are_refused(ids: Any) -> None:
    with pytest.raises(InvalidEvaluation, match="one id per sample"):
        list(batches([(X[:2], Y[:2], ids)], 2))


# refusals


@pytest.mark.parametrize("source", [[], (X[:0], Y[:0]), iter(()), [(X[:0], Y[:0])], TensorDataset(X[:0])])
def test_an_empty_source_is_refused(source: Any) -> None:
    with pytest.raises(InvalidEvaluation, match="at least one sample, got none"):
        list(batches(source, 2))


def test_a_generator_read_twice_is_refused_with_the_reason() -> None:
    source = halves(X, Y)
    list(batches(source, 2))
    with pytest.raises(InvalidEvaluation, match="a generator can be read only once"):
        list(batches(source, 2))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (5, "iterable of .*got int"),
        ([X], r"lengths \[7\]"),
        ((X, Y[:6]), r"lengths \[7, 6\]"),
        ([(X[0],)], "got tuple of 1"),
        ([X, Y, Y, Y, Y], r"lengths \[7, 7, 7, 7, 7\]"),
        (["ab"], "got str"),
        ([{"picture": X, "y": Y}], "got a dict of picture, y"),
        ([(Image.new("RGB", (2, 2)), 1)], r"got Image; .*ToTensor\(\)"),
        ([(X, Y[:6])], r"one label per input, got 6 for shape \(7, 3\)"),
        ([(X[0], "cat")], "labels: expected integers"),
        ([(X[0], 1.0)], r"shape \(1,\) and dtype torch.float32"),
        ([(X[0], True)], r"shape \(1,\) and dtype torch.bool"),
        ([(torch.zeros(3, 4), 0), (torch.zeros(3, 5), 0)], r"one shape, got \(3, 4\) and \(3, 5\)"),
    ],
)
def test_a_source_of_something_else_is_refused_in_one_line(source: Any, message: str) -> None:
    with pytest.raises(InvalidEvaluation, match=message) as caught:
        list(batches(source, 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("size", "limit"), [(0, None), (-1, None), (3, 0)])
def test_sizes_below_1_are_refused_before_anything_is_read(size: int, limit: int | None) -> None:
    with pytest.raises(ConfigurationError, match="an integer >= 1"):
        batches((X, Y), size, limit)


def test_reversed_bounds_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'odd': expected bounds \(low, high\)"):
        Dataset(name="odd", source=(X, Y), bounds=(1.0, 0.0))
