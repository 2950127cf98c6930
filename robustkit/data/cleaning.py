"""Data cleaning: what is wrong with training data, found and shown; nothing is changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustkit.base.csv_table import write_csv
from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.settings import between
from robustkit.base.settings import seed as known_seed
from robustkit.data.cleaning_arguments import Predict, as_function, check_arguments, check_probabilities
from robustkit.data.dataset import Batch
from robustkit.data.suspicious import Array, Indices, features, label_errors, neighbours, out_of_fold, rms, strangeness

KINDS = {
    "nan": "NaN or infinite values",
    "range": "values outside the bounds",
    "duplicate": "exact copy of an earlier sample",
    "near": "near copy of an earlier sample",
    "leak": "copy of a test sample in training",
    "label": "probably wrong label",
    "outlier": "unlike all others",
}
FEWEST = 20  # samples below which nothing can be said of likeness
TRUSTED = 0.7  # accuracy from which predictions may say that labels are wrong; below, it is they that are
RANKED, LISTED = 0.5, 0.02  # accuracy from which they may rank labels all the same, and the share then listed


@dataclass(frozen=True)
class Issue:
    """One thing wrong with one sample.

    Attributes:
        kind: One of `KINDS`.
        split: "train" or "test".
        id: The sample.
        label: Its class index.
        score: The evidence: for nan how many values, for range how far outside, for duplicate, near and leak the RMS
            difference to the partner, for label the out-of-fold probability of its label, for outlier the robust
            z-score.
        partner: Split and id of the sample it is a copy of, or "".
        partner_label: The class of that one.
        suggestion: For label: the class it seems to be.
    """

    kind: str
    split: str
    id: str
    label: int
    score: float
    partner: str = ""
    partner_label: int | None = None
    suggestion: int | None = None


@dataclass(frozen=True)
class Cleaning:
    """What was found.

    Attributes:
        train: How many training samples were looked at.
        test: How many test samples.
        bounds: Lowest and highest legal value.
        radius: RMS difference up to which samples are near copies; None where that was not looked at.
        accuracy: Share of labels that the out-of-fold predictions agree with; None where there are none.
        label_share: Estimated share of wrong labels; None where that was not looked at.
        issues: All that was found, in the order of `KINDS`, the worst of each kind first.
        notes: What was not looked at, and why.
        judge: Whose out-of-fold predictions say that labels are wrong.
    """

    train: int
    test: int
    bounds: tuple[float, float]
    radius: float | None
    accuracy: float | None
    label_share: float | None
    issues: tuple[Issue, ...]
    notes: tuple[str, ...]
    judge: str = "logistic regression"

    def of(self, kind: str, split: str = "train") -> tuple[Issue, ...]:
        """Returns the issues of one kind in one split."""
        return tuple(issue for issue in self.issues if (issue.kind, issue.split) == (kind, split))

    def keep(self, names: Iterable[str], drop: Iterable[str]) -> Tensor:
        """Returns which training samples (N,) have none of the issues called `drop`.

        Raises:
            ConfigurationError: If there is no such kind of issue.
        """
        drop = known_kinds(drop)
        dropped = {issue.id for issue in self.issues if issue.split == "train" and issue.kind in drop}
        return torch.tensor([name not in dropped for name in names], device="cpu")

    def to_json(self) -> str:
        """Returns everything as JSON."""
        return json.dumps({"schema": 1, **dataclasses.asdict(self)}, indent=1) + "\n"

    def to_csv(self) -> str:
        """Returns one line per issue."""
        names = [field.name for field in dataclasses.fields(Issue)]
        return write_csv(names, ([getattr(issue, name) for name in names] for issue in self.issues))


@dataclass(frozen=True)
class _Split:
    """Samples of one split; `where` says which rows of the original they are."""

    name: str
    data: Batch
    where: Tensor

    def __len__(self) -> int:
        return len(self.where)

    @property
    def x(self) -> Tensor:
        return self.data.x[self.where]

    def at(self, keep: Tensor) -> _Split:
        return _Split(self.name, self.data, self.where[keep])

    def issue(self, kind: str, row: int, score: float, suggestion: int | None = None) -> Issue:
        return Issue(kind, self.name, self._id(row), self._label(row), float(score), suggestion=suggestion)

    def copy(self, kind: str, row: int, other: _Split, other_row: int, score: float) -> Issue:
        partner = f"{other.name} {other._id(other_row)}"
        return dataclasses.replace(self.issue(kind, row, score), partner=partner, partner_label=other._label(other_row))

    def _id(self, row: int) -> str:
        place = int(self.where[row])
        return self.data.names[place] if self.data.names else str(int(self.data.ids[place]))

    def _label(self, row: int) -> int:
        return int(self.data.y[self.where[row]])


def known_kinds(names: Iterable[str]) -> set[str]:
    """Returns the names as a set.

    Raises:
        ConfigurationError: If one is no kind of issue.
    """
    for name in (names := set(names)) - KINDS.keys():
        raise ConfigurationError(f"clean-data: expected a known issue to drop, got {name!r}{suggest(name, KINDS)}")
    return names


def sample_names(data: Batch) -> list[str]:
    """Returns the id of every sample as text."""
    return data.names or [str(number) for number in data.ids.tolist()]


def clean(
    train: Batch,
    test: Batch | None = None,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    near: float = 0.25,
    outlier: float = 4.0,
    probabilities: Array | Predict | None = None,
    seed: int = 0,
) -> Cleaning:
    """Returns what is wrong with the samples; they stay as they are.

    Args:
        train: Samples to train on.
        test: Samples to judge by, in which training samples must not occur again.
        bounds: Lowest and highest legal value.
        near: Near copies differ by at most this share of the median RMS difference between nearest neighbours.
        outlier: Robust z-score from which a sample is an outlier.
        probabilities: Probabilities (N, K) a model gives to training samples it was not trained on, in their order; by
            default those of logistic regression on principal components of the pixels, over 5 folds. Or a function
            that gives them for inputs (n, ...) in `bounds`, class indices (n,) and groups (n,) of which none may be
            on both sides of a fold, such as `robustkit.defenses.out_of_fold`.
        seed: Of the folds behind the label errors.

    Raises:
        ConfigurationError: If train and test inputs differ in shape, or probabilities and training samples in number.
    """
    check_arguments(train, test, bounds)
    if probabilities is not None and not callable(probabilities):
        check_probabilities(probabilities, train)
    seed = known_seed("clean-data", seed)
    near, outlier = (between("clean-data", n, v, "[0, inf)") for n, v in (("near", near), ("outlier", outlier)))
    named = (("train", train), ("test", test))
    splits = [_Split(name, d, torch.arange(len(d), device="cpu")) for name, d in named if d is not None]
    issues: list[Issue] = []
    notes: list[str] = []
    for number, split in enumerate(splits):
        found, finite = _illegal(split, bounds)
        issues += found
        splits[number] = split.at(finite)
    sound = list(splits)
    originals: dict[bytes, tuple[_Split, int]] = {}
    for number in range(len(splits) - 1, -1, -1):  # test first, so that it is training that leaks
        found, fresh = _exact(splits[number], originals)
        issues += found
        splits[number] = splits[number].at(fresh)
    one, other = splits[0], splits[1] if len(splits) > 1 else None
    radius = accuracy = share = None
    if len(one) < FEWEST:
        notes.append(f"near copies, labels and outliers: {len(one)} different samples are too few, {FEWEST} needed")
    else:
        here, there = features(one.x, other.x if other else None)
        radius = near * float(np.median(neighbours(here, count=1)[0]))
        groups = np.arange(len(one))
        issues += _near("near", one, one, here, here, radius, groups)
        if other:
            issues += _near("leak", one, other, here, there, radius)
        if other and len(other) > 1:
            issues += _near("near", other, other, there, there, radius)
        issues += _outliers(one, here, outlier)
        predict = None if probabilities is None else as_function(probabilities, bounds, one.where.numpy())
        found, accuracy, share = _labels(one, here, groups, predict, seed)
        issues += found
        if accuracy is None:
            notes.append("labels: expected two classes or more, each with two different samples or more")
        elif share is None:
            notes.append(_doubt(accuracy))
    ordered = sorted(issues, key=_worst_first)
    counts = [len(split.data) for split in sound]
    judge = Cleaning.judge if probabilities is None else "the predictions given"
    return Cleaning(counts[0], sum(counts[1:]), bounds, radius, accuracy, share, tuple(ordered), tuple(notes), judge)


def _worst_first(issue: Issue) -> tuple[int, str, float]:
    rising = issue.kind in ("duplicate", "near", "leak", "label")
    return [*KINDS].index(issue.kind), issue.split, issue.score if rising else -abs(issue.score)


def _illegal(split: _Split, bounds: tuple[float, float]) -> tuple[list[Issue], Tensor]:
    """Returns samples with illegal values, and which (N,) are finite."""
    flat = split.x.flatten(1).double()
    broken = (~flat.isfinite()).sum(dim=1)
    flat = flat.nan_to_num(bounds[0], bounds[0], bounds[0])
    outside = torch.maximum(bounds[0] - flat, flat - bounds[1]).amax(dim=1)
    issues = [split.issue("nan", i, float(broken[i])) for i in broken.nonzero().flatten().tolist()]
    issues += [split.issue("range", i, float(outside[i])) for i in (outside > 0).nonzero().flatten().tolist()]
    return issues, broken == 0


def _exact(split: _Split, originals: dict[bytes, tuple[_Split, int]]) -> tuple[list[Issue], Tensor]:
    """Returns exact copies, and which samples (N,) are none; those join `originals`."""
    issues, fresh = [], torch.ones(len(split), dtype=torch.bool, device="cpu")
    for row, x in enumerate(split.x.cpu().contiguous().numpy()):
        first, place = originals.setdefault(x.tobytes(), (split, row))
        if (first, place) != (split, row):
            kind = "duplicate" if first.name == split.name else "leak"
            issues.append(split.copy(kind, row, first, place, 0.0))
            fresh[row] = False
    return issues, fresh


def _near(
    kind: str, split: _Split, other: _Split, here: Array, there: Array, radius: float, groups: Indices | None = None
) -> list[Issue]:
    """Returns near copies in `split` of samples in `other`; within one split, of earlier ones, joined in `groups`."""
    within = split is other
    distances, places = neighbours(there, None if within else here)
    rows, columns = np.nonzero(distances <= radius)
    partners = places[rows, columns]
    if within:
        rows, partners = rows[partners < rows], partners[partners < rows]
    apart = rms(split.data.x[split.where[rows]], other.data.x[other.where[partners]])
    nearest: dict[int, tuple[float, int]] = {}
    for row, partner, distance in zip(rows.tolist(), partners.tolist(), apart.tolist(), strict=True):
        if distance <= radius:
            nearest[row] = min(nearest.get(row, (np.inf, -1)), (distance, partner))
            if groups is not None:
                groups[groups == groups[row]] = groups[partner]
    return [split.copy(kind, row, other, partner, distance) for row, (distance, partner) in nearest.items()]


def _outliers(split: _Split, described: Array, least: float) -> list[Issue]:
    far, rest = strangeness(described)
    score = np.where(far > np.abs(rest), far, rest)
    return [split.issue("outlier", i, score[i]) for i in range(len(split)) if far[i] >= least or abs(rest[i]) >= least]


def _labels(
    split: _Split, described: Array, groups: Indices, predict: Predict | None, seed: int
) -> tuple[list[Issue], float | None, float | None]:
    """Returns probably wrong labels, the accuracy of the predictions that say so, and the share of wrong labels.

    The latter is None where those predictions are too bad to count, and there are none of the former where they are
    too bad to rank; both are None where a class has too few samples.
    """
    classes, labels = np.unique(split.data.y[split.where].numpy(), return_inverse=True)
    if len(classes) < 2 or int(np.bincount(labels).min()) < 2:
        return [], None, None
    if predict is None:
        shares = out_of_fold(described, labels, groups, seed)
    else:
        shares = predict(split.x, split.data.y[split.where], groups)[:, classes]
    accuracy = float((shares.argmax(axis=1) == labels).mean())
    if accuracy < RANKED:
        return [], accuracy, None
    errors = label_errors(shares, labels)
    suspects = np.flatnonzero(errors.suspect)
    if accuracy < TRUSTED:
        suspects = suspects[errors.confidence[suspects].argsort(kind="stable")][: int(LISTED * len(labels))]
    looks_like = classes[errors.suggestion].tolist()
    issues = [split.issue("label", i, errors.confidence[i], looks_like[i]) for i in suspects.tolist()]
    return issues, accuracy, errors.share if accuracy >= TRUSTED else None


def _doubt(accuracy: float) -> str:
    better = "give those of a better model (MODEL --folds 3, --probabilities)"
    agree = f"labels: out-of-fold predictions agree with {100 * accuracy:.0f} % of them, {100 * TRUSTED:.0f} %"
    if accuracy < RANKED:
        return f"{agree} needed to judge; {better}"
    return f"{agree} needed to count errors; the {100 * LISTED:.0f} % least probable are listed to look at, or {better}"
