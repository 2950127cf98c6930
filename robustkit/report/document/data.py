"""What a report says of its samples, and of all data that they were chosen from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Whole:
    """All data that the samples were chosen from: their number, and a hash over ids, labels, and inputs or files."""

    n: int
    sha256: str
    of: Literal["inputs", "files"]


@dataclass(frozen=True)
class Data:
    """The samples: `selection` says in words how they were chosen, the two hashes fix which they were.

    `whole` is None where they are all there are, where nobody could or wanted to read the others, and in older reports.
    """

    name: str
    split: str | None
    selection: str
    n: int
    input_shape: tuple[int, ...]
    ids_sha256: str
    sha256: str
    notes: tuple[str, ...]
    whole: Whole | None = None
