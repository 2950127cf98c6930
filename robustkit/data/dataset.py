"""What a data set is: any iterable of (x, y[, id]), cut into batches of plain tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.foreign_code import foreign, foreign_items
from robustkit.base.per_coordinate import Bounds, bounds_of
from robustkit.base.settings import distinct, every, instance, integer, plain, wrong
from robustkit.data.labels import as_labels, as_tensor
from robustkit.data.layout import Layout, refuse_several
from robustkit.data.schema import Schema

FIELD_NAMES = {"x": ("x", "image", "pixel_values"), "y": ("y", "label", "labels"), "id": ("id", "ids")}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A named source of samples and what a report needs to know about it.

    Attributes:
        name: What reports call it.
        source: A map-style data set, an iterable of samples or of batches, or a pair of arrays (x, y).
        split: Which part of the data this is, such as "test".
        bounds: Lowest and highest legal input value, numbers or arrays that broadcast to one input.
        class_names: One name per class index, where the data has them.
        labelled_by_name: Whether samples were labelled by name (folders, texts), so that indices only follow the order
            of the names and say nothing about the outputs of a model.
        notes: What was done to the stored data on the way, one sentence each.
        first: How many samples from the start of `source` belong to it; None for all.
        selection: Which samples of a larger set these are, in words; None for all. See `robustkit.data.sampled`.
        whole: The larger set, where these are some of it or may turn out to be.
        feature_names: One name per value of an input, where the inputs are rows of a table that has them.
        schema: Of a table that has one: what its features are, and how far each may change.
        layout: Where a sample is several inputs in one row: how they lie there. See `robustkit.data.pack`.
    """

    name: str
    source: Any
    split: str | None = None
    bounds: Bounds = (0.0, 1.0)
    class_names: tuple[str, ...] | None = None
    labelled_by_name: bool = False
    notes: tuple[str, ...] = ()
    first: int | None = None
    selection: str | None = None
    whole: Dataset | None = None
    feature_names: tuple[str, ...] | None = None
    schema: Schema | None = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        instance("Dataset", "name", self.name, str)
        who = f"data '{self.name}'"
        object.__setattr__(self, "bounds", tuple(bounds_of(who, "bounds", self.bounds)))
        if self.split is not None:
            instance(who, "split", self.split, str)
        if self.class_names is not None:
            object.__setattr__(self, "class_names", distinct(who, "class_names", self.class_names))
        every(who, "notes", self.notes, str)


@dataclass(frozen=True)
class Batch:
    """Some samples: row i of every field belongs to the same sample.

    Attributes:
        x: Inputs (N, ...), with the dtype and on the device they came with.
        y: Class indices (N,), int64.
        ids: Sample ids (N,), int64, on the CPU.
        names: The ids as text, only where the source names its samples.
    """

    x: Tensor
    y: Tensor
    ids: Tensor
    names: list[str] | None = None

    def __post_init__(self) -> None:
        for name in ("x", "y", "ids"):
            instance("Batch", name, getattr(self, name), Tensor)
            if name != "x" and getattr(self, name).is_floating_point():
                raise wrong("Batch", name, getattr(self, name), "integers")
        if self.names is not None:
            every("Batch", "names", self.names, str)
        lengths = [len(part) if isinstance(part, list) or part.ndim else 0 for part in self._columns]
        if len(set(lengths)) > 1:
            raise InvalidEvaluation(f"Batch: expected fields of one length, got {lengths}; give one row per sample")

    @property
    def _columns(self) -> list[Any]:
        return [self.x, self.y, self.ids, *([] if self.names is None else [self.names])]

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, start: int, stop: int) -> Batch:
        """Returns the samples start..stop-1 as views."""
        names = None if self.names is None else self.names[start:stop]
        return Batch(self.x[start:stop], self.y[start:stop], self.ids[start:stop], names)


def batches(source: Any, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
    """Yields the samples of `source` in order, `batch_size` at a time; only the last batch may be smaller.

    Accepted are a `Dataset`, a pair (x, y) or triple (x, y, ids) of tensors or arrays, a map-style data set
    (`__getitem__` and `__len__`, no `__iter__`), and any iterable of samples or of batches, each a tuple
    (x, y[, id[, anything]]) or a dict with the `FIELD_NAMES`. An item of a map-style data set is one sample;
    in an iterable, an item whose label has no axis (a Python int, say) is one sample, any other item a batch.
    The source is streamed, never held whole.

    An id is an integer from 0, or a text, which becomes a number by `text_id`; without ids, samples are
    numbered 0, 1, 2, ... in the order they come.

    Args:
        source: Where the samples come from.
        batch_size: Largest number of rows per batch, at least 1, whatever batches the source comes in.
        limit: Stop after this many samples, at least 1.

    Raises:
        ConfigurationError: If `batch_size` or `limit` is below 1.
        InvalidEvaluation: If the source is empty, repeats an id, or holds something that is no sample.
    """
    batch_size = integer("data", "batch_size", batch_size)
    limit = None if limit is None else integer("data", "limit", limit)
    if isinstance(source, Dataset):
        limit, source = min((n for n in (limit, source.first) if n is not None), default=None), source.source
    return _stream(source, batch_size, limit)


def check_bounds(who: str, data: Any, bounds: Bounds) -> None:
    """Raises ConfigurationError where data that know their bounds have others than the model."""
    if isinstance(data, Dataset) and data.bounds != bounds:
        raise ConfigurationError(
            f"{who}: expected data in the model's bounds {bounds}, got {data.bounds}; make them agree"
        )


def text_id(name: str) -> int:
    """Returns the 63-bit number that stands for a textual sample id: the first bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def samples_sum(x: Tensor, y: Tensor, ids: Tensor) -> int:
    """Returns the sum of one hash per sample, modulo 2**256: of parts it may be added up, in whatever order.

    Args:
        x: Inputs (N, ...), hashed as float32.
        y: Class indices (N,).
        ids: Sample ids (N,).
    """
    total = 0
    for row, label, id in zip(x.float().cpu().numpy(), y.tolist(), ids.tolist(), strict=True):
        digest = hashlib.sha256(f"{id}/{label}/".encode() + row.tobytes()).digest()
        total += int.from_bytes(digest, "big")
    return total % 2**256


def samples_sha256(total: int) -> str:
    """Returns the hash of a set of samples, given the sum over all of them."""
    return hashlib.sha256((total % 2**256).to_bytes(32, "big")).hexdigest()


def _stream(source: Any, batch_size: int, limit: int | None) -> Iterator[Batch]:
    """Re-cuts items of any length: `held` waits for a full batch, `count` samples have been taken."""
    held: list[Batch] = []
    waiting = count = 0
    seen: set[int] = set()
    map_style = _is_map_style(source)
    for item in _read(source, batch_size):
        piece, start = as_batch(item, count, sample=map_style), 0
        while start < len(piece):
            room = batch_size - waiting if limit is None else min(batch_size - waiting, limit - count)
            taken = piece.rows(start, start + room)
            held.append(taken)
            waiting, count, start = waiting + len(taken), count + len(taken), start + len(taken)
            if waiting == batch_size or count == limit:
                yield _join(held, seen)
                held, waiting = [], 0
            if count == limit:
                return
    if held:
        yield _join(held, seen)
    if not count:
        raise InvalidEvaluation(
            "data: expected at least one sample, got none; a generator can be read only once, so give a list,"
            " a data set or a loader"
        )


def are_columns(source: Any) -> bool:
    """Returns whether `source` is a pair (x, y) or triple (x, y, ids) of arrays rather than a list of samples."""
    return isinstance(source, (tuple, list)) and len(source) > 0 and isinstance(source[0], (Tensor, np.ndarray))


def holds_samples(source: Any) -> bool:
    """Returns whether `source[i]` is sample i; a list may as well hold batches."""
    if _is_map_style(source):
        return True
    if isinstance(source, (Mapping, str)) or not (hasattr(source, "__getitem__") and hasattr(source, "__len__")):
        return False
    label = fields_of(source[0])[1] if len(source) else None
    return isinstance(label, (int, float, str)) or getattr(label, "ndim", None) == 0


def _is_map_style(source: Any) -> bool:
    return hasattr(source, "__getitem__") and hasattr(source, "__len__") and not hasattr(source, "__iter__")


def _read(source: Any, batch_size: int) -> Iterator[Any]:
    with foreign("the data"):
        items = _items(source, batch_size)
    yield from foreign_items("the data", items)


def _items(source: Any, batch_size: int) -> Iterator[Any]:
    if are_columns(source):
        lengths = [len(part) for part in source]
        if len(source) not in (2, 3) or len(set(lengths)) > 1:
            raise InvalidEvaluation(
                f"data: expected equally long arrays (x, y[, ids]), got lengths {lengths}; give one of each"
            )
        starts = range(0, lengths[0], batch_size)
        return (tuple(part[i : i + batch_size] for part in source) for i in starts)
    if _is_map_style(source):
        return (source[i] for i in range(len(source)))
    if not hasattr(source, "__iter__"):
        raise InvalidEvaluation(
            f"data: expected an iterable of (x, y[, id]), got {type(source).__name__}; give arrays or a data set"
        )
    return iter(source)


def as_batch(item: Any, first_id: int, sample: bool) -> Batch:
    """Returns one item of a source, a sample or a batch, as a batch."""
    x, y, ids = fields_of(item)
    try:
        x = as_tensor(x)
    except (TypeError, ValueError, RuntimeError):
        raise InvalidEvaluation(
            f"data: expected tensors or arrays as inputs, got {type(x).__name__}; convert them (ToTensor();"
            " of a Hugging Face data set, with_format('torch'))"
        ) from None
    if sample or isinstance(y, (int, float, str)) or getattr(y, "ndim", None) == 0:
        x, y, ids = x[None], y[None] if hasattr(y, "ndim") else [y], None if ids is None else [ids]
    y = as_labels(y)
    if x.ndim == 0 or len(x) != len(y):
        raise InvalidEvaluation(
            f"data: expected one label per input, got {len(y)} for shape {tuple(x.shape)}; give as many"
        )
    if ids is None:
        return Batch(x, y, torch.arange(first_id, first_id + len(y), device="cpu"))
    return Batch(x, y, *read_ids(ids, len(y)))


def fields_of(item: Any) -> tuple[Any, Any, Any]:
    """Returns inputs, labels and ids, None without, of one item of a source: (x, y[, id]) or a dict."""
    got = type(item).__name__
    if isinstance(item, Mapping):
        refuse_several(item)
        x, y, ids = (next((item[n] for n in names if n in item), None) for names in FIELD_NAMES.values())
        if x is not None and y is not None:
            return x, y, ids
        got = f"a dict of {', '.join(map(str, item))}"
    elif isinstance(item, (tuple, list)):
        if 2 <= len(item) <= 4:
            return item[0], item[1], item[2] if len(item) > 2 else None
        got = f"{got} of {len(item)}"
    raise InvalidEvaluation(f"data: expected items (x, y[, id]) or dicts with x and y, got {got}; re-pack them")


def read_ids(ids: Any, count: int) -> tuple[Tensor, list[str] | None]:
    """Returns the ids as numbers and, where any of them is a text, all as text.

    Raises:
        InvalidEvaluation: If they are not one text or one integer from 0 for each of `count` samples.
    """
    listed = [ids] if isinstance(ids, str) else getattr(ids, "tolist", lambda: ids)()
    numbered: list[Any] = list(map(plain, listed)) if isinstance(listed, Iterable) else [listed]
    bad = [i for i in numbered if not isinstance(i, str) and (type(i) is not int or not 0 <= i < 2**63)]
    if bad or len(numbered) != count:
        got = f"{str(bad[0])[:60]!r}" if bad else f"{len(numbered)} ids for {count} samples"
        raise InvalidEvaluation(
            f"data: expected one id per sample, a text or an integer from 0, got {got}; leave the third field"
            " out to number the samples"
        )
    numbers = torch.tensor([text_id(i) if isinstance(i, str) else i for i in numbered], dtype=torch.int64, device="cpu")
    return numbers, [str(i) for i in numbered] if any(isinstance(i, str) for i in numbered) else None


def _join(pieces: list[Batch], seen: set[int]) -> Batch:
    shapes = sorted({tuple(p.x.shape[1:]) for p in pieces})
    if len(shapes) > 1:
        raise InvalidEvaluation(
            f"data: expected inputs of one shape, got {shapes[0]} and {shapes[1]}; resize or pad them"
        )
    ids = torch.cat([p.ids for p in pieces])
    texts = [name for p in pieces for name in (p.names or map(str, p.ids.tolist()))]
    for i, text in zip(ids.tolist(), texts, strict=True):
        if i in seen:
            raise InvalidEvaluation(f"data: expected unique ids, got {text!r} twice; make them unique")
        seen.add(i)
    names = texts if any(p.names for p in pieces) else None
    return Batch(torch.cat([p.x for p in pieces]), torch.cat([p.y for p in pieces]), ids, names)


def count_samples(source: Any) -> int | None:
    """Returns how many samples a source has; None where it does not know its length."""
    first = source.first if isinstance(source, Dataset) else None
    source = source.source if isinstance(source, Dataset) else source
    if are_columns(source):
        size: int | None = len(source[0])
    else:
        counted = getattr(source, "dataset", source)  # a loader's own length counts batches
        size = len(counted) if isinstance(counted, Sized) else None
    return min((n for n in (size, first) if n is not None), default=None)
