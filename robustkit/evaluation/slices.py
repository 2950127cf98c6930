"""Groups of samples: accuracy where it matters, and intervals that know which samples share an origin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import fisher_exact, norm

from robustkit.base.csv_table import read_csv
from robustkit.base.errors import ConfigurationError
from robustkit.base.foreign_file import content, parsing
from robustkit.data.dataset import Dataset, batches
from robustkit.evaluation.ledger import Ledger, Mask
from robustkit.maths.intervals import Proportion, bootstrap, holm, proportion, resampled

UNKNOWN = "(not given)"
MOST_VALUES = 50  # more are no slices but a measurement: cut it into ranges first
FEW_ORIGINS = 30  # below this resampling whole origins gives intervals that are too narrow
Texts = npt.NDArray[Any]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Groups:
    """What a groups file says about every sample, by its id as text.

    Attributes:
        name: Of the file.
        columns: For each slice column the value by id.
        clusters: The origin of each sample by id, where the file tells.
        notes: What is odd about the file, one sentence each.
    """

    name: str
    columns: dict[str, dict[str, str]]
    clusters: dict[str, str] | None = None
    notes: tuple[str, ...] = ()

    def slices(self) -> tuple[tuple[str, str], ...]:
        """Returns every column with every value in it."""
        return tuple((column, value) for column, by_id in self.columns.items() for value in sorted(set(by_id.values())))

    def values(self, column: str, ledger: Ledger) -> Texts:
        """Returns the value of a column for every row of a ledger, `UNKNOWN` where the file has none."""
        return np.array([self.columns[column].get(id, UNKNOWN) for id in _ids(ledger)], dtype=object)

    def origins(self, ledger: Ledger) -> npt.NDArray[np.int64] | None:
        """Returns the number of each row's origin; a sample the file does not name is an origin of its own."""
        if self.clusters is None:
            return None
        named = [("cluster", self.clusters[id]) if id in self.clusters else ("sample", id) for id in _ids(ledger)]
        number = {origin: i for i, origin in enumerate(dict.fromkeys(named))}
        return np.array([number[origin] for origin in named], dtype=np.int64)

    def describe(self, ledger: Ledger) -> tuple[str, ...]:
        """Returns what a reader of slices and intervals has to know, one sentence each."""
        origins = self.origins(ledger)
        if origins is None:
            return self.notes
        count = int(origins.max()) + 1
        few = f"; fewer than {FEW_ORIGINS}, so intervals over them are too narrow" if count < FEW_ORIGINS else ""
        return (*self.notes, f"the samples come from {count} origins ({self.name}){few}")

    def check(self, dataset: Dataset) -> None:
        """Looks at the first samples, where data can be read twice.

        Raises:
            ConfigurationError: If the file names none of them.
        """
        if isinstance(dataset.source, Iterator):
            return
        first = next(batches(dataset, 256))
        ids = first.names or [str(id) for id in first.ids.tolist()]
        known = set().union(*self.columns.values(), self.clusters or {})
        if not known & set(ids):
            raise ConfigurationError(
                f"groups '{self.name}': expected rows for ids such as {ids[0]!r}, got {min(known)!r} and others; "
                "use the ids of the data, which number the samples from 0 where they have none"
            )


def read_groups(path: Path) -> Groups:
    """Returns what a CSV file with the columns id[, cluster][, any others] says; the others are slices.

    Raises:
        ConfigurationError: If it cannot be read, has no id or nothing beside it, contradicts itself about an id, or a
            column has too many values to be slices.
    """
    with parsing("groups", "a readable CSV file", found=f"'{path}'"):
        lines = [line for line in read_csv(content(path).decode("utf-8-sig")) if line]
    header, *rows = lines or [[]]
    if not rows or "id" not in header or len(header) < 2 or len(set(header)) < len(header):
        raise ConfigurationError(
            f"groups '{path.name}': expected columns id[,cluster][,slices] and rows, got "
            f"{', '.join(header) if rows else 'no row'}; name every column once"
        )
    by_id: dict[str, dict[str, str]] = {}
    repeated = 0
    for line, cells in enumerate(rows, 2):
        if len(cells) != len(header):
            raise ConfigurationError(f"groups '{path.name}': expected {len(header)} cells in row {line}; mend it")
        row = dict(zip(header, cells, strict=True))
        rest = {column: value.strip() for column, value in row.items() if column != "id"}
        before = by_id.setdefault(row["id"].strip(), rest)
        repeated += before is not rest
        if before != rest:
            raise ConfigurationError(
                f"groups '{path.name}': expected one answer for id {row['id']!r}, got another in row {line}; keep one"
            )
    columns = {c: {id: row[c] for id, row in by_id.items()} for c in header if c not in ("id", "cluster")}
    for column, found in columns.items():
        if (many := len(set(found.values()))) > MOST_VALUES:
            raise ConfigurationError(
                f"groups '{path.name}': expected at most {MOST_VALUES} values in {column!r}, got {many}; cut it into "
                "ranges, or call the column cluster if it names an origin"
            )
    clusters = {id: row["cluster"] for id, row in by_id.items()} if "cluster" in header else None
    notes = (f"{path.name} names ids more than once, {repeated} rows too many",) if repeated else ()
    return Groups(path.name, columns, clusters, notes)


def accuracy_by_slice(
    ledger: Ledger, groups: Groups, seed: int = 0
) -> list[tuple[str, str, Proportion, Proportion, float | None, float | None]]:
    """Returns column, value, clean and robust accuracy, and p values of the robust accuracy against all other samples.

    Values of the file that no sample has come with n = 0, samples the file does not name under `UNKNOWN`.

    The second p value has Holm's correction over all slices. Without clusters they are Fisher's exact test; with them,
    which that test must not overlook, the difference is held against its standard error in a bootstrap over origins.

    Args:
        ledger: The rows.
        groups: Which belong together.
        seed: Of the bootstrap.
    """
    right, robust, origins = ledger.right, ledger.robust, groups.origins(ledger)
    rows, p_values = [], []
    for column in groups.columns:
        values = groups.values(column, ledger)
        for value in sorted({*values, *groups.columns[column].values()}):
            inside = np.asarray(values == value)
            rows.append((column, value, _share(right[inside]), _share(robust[inside])))
            p_values.append(_against_rest(robust, inside, origins, seed))
    adjusted = iter(holm([p for p in p_values if p is not None]))
    return [(*row, p, None if p is None else next(adjusted)) for row, p in zip(rows, p_values, strict=True)]


def clustered_interval(hits: Mask, origins: npt.NDArray[np.int64], seed: int = 0) -> Interval:
    """Returns the 95 % interval of the share of hits that allows for samples of one origin.

    Whole origins are resampled. Where all samples agree there is nothing to resample: then every origin counts as one
    sample of the Wilson interval.

    Args:
        hits: Which samples are right, shape (n,).
        origins: Number of each sample's origin, shape (n,), from 0.
        seed: Of the bootstrap.
    """
    if hits.all() or not hits.any():
        count = len(np.unique(origins))
        return proportion(count if hits.all() else 0, count).wilson
    low, high = bootstrap(
        lambda weights: (weights @ hits) / weights.sum(axis=1), len(hits), seed=seed, clusters=origins
    )
    return float(low), float(high)


def fisher(k: int, n: int, all_k: int, all_n: int) -> float | None:
    """Returns the p value of `k` hits of `n` against the other samples of all; None where either side is empty."""
    if n in (0, all_n):
        return None
    others = all_k - k
    return float(fisher_exact([[k, n - k], [others, all_n - n - others]]).pvalue)


def _against_rest(robust: Mask, inside: Mask, origins: npt.NDArray[np.int64] | None, seed: int) -> float | None:
    if inside.all() or not inside.any():
        return None
    if origins is None:
        return fisher(int(robust[inside].sum()), int(inside.sum()), int(robust.sum()), len(robust))

    def difference(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        parts = [(weights[:, part] @ robust[part], weights[:, part].sum(axis=1)) for part in (inside, ~inside)]
        with np.errstate(invalid="ignore"):  # a side that nobody was drawn from has no share
            first, second = (sums / mass for sums, mass in parts)
        return np.asarray(first - second)

    drawn = resampled(np.random.default_rng([seed, 2]), len(robust), 500, origins)
    spread = float(np.nanstd(np.concatenate([difference(weights) for weights in drawn])))
    gap = abs(float(difference(np.ones((1, len(robust)))).item()))
    return float(2 * norm.sf(gap / spread)) if spread > 0 else None


def _ids(ledger: Ledger) -> list[str]:
    return ledger.names or [str(id) for id in ledger["id"].tolist()]


def _share(hits: Mask) -> Proportion:
    return proportion(int(hits.sum()), len(hits))
