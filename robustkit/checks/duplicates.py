"""Duplicates: samples that an audit counts twice, or that the model was tuned on."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError
from robustkit.checks.diagnostic import Diagnostic, Status, diagnostic
from robustkit.data.dataset import Batch, batches
from robustkit.data.suspicious import Array, features, neighbours, reduced
from robustkit.model.classifier import Classifier

ROOM = 2000  # samples kept, averaged down to 16 pixels, to look for near copies among
NEAR = 0.1  # near copies differ by at most this share of the median distance of nearest neighbours
FEWEST = 20  # samples below which nothing can be said of likeness
LIMIT = 0.01  # share of samples that may be copies, or known from tuning, before it is said or held against the audit
_HASH = re.compile(r"(sha256:)?[0-9a-f]{64}")


class Copies:
    """What is kept of the samples of an audit to recognise a duplicate: a hash of each, a small picture of some."""

    def __init__(self) -> None:
        self.first: dict[bytes, str] = {}
        self.twice: list[tuple[str, str]] = []
        self.small: list[Tensor] = []
        self.names: list[str] = []
        self.n = 0

    def add(self, x: Tensor, batch: Batch) -> None:
        """Looks at samples: accepted inputs `x` (N, ...) of `batch`."""
        names = batch.names or [str(id) for id in batch.ids.tolist()]
        for digest, name in zip(_digests(x), names, strict=True):
            other = self.first.setdefault(digest, name)
            if other != name:
                self.twice.append((name, other))
        self.n += len(names)
        if (free := ROOM - len(self.names)) > 0:
            self.small.append(reduced(x[:free]).cpu())
            self.names += names[:free]

    def diagnostic(self, classifier: Classifier, tuning: Any = None, data_sha256: str | None = None) -> Diagnostic:
        """Returns Q23.

        Args:
            classifier: Accepts the tuning data as it did the others.
            tuning: Data the model was trained or tuned on, as `robustkit.data.batches` reads them, or the SHA-256 that
                a report gives for its data.
            data_sha256: That of the audited data.

        Raises:
            ConfigurationError: If the tuning data have another shape, or the text is no hash.
        """
        near = self._near(None) if self.names else []
        pairs = [*self.twice, *near]
        said = [
            f"{len(self.twice)} of {self.n} samples are duplicates" if self.twice else "",
            f"{len(near)} of the first {len(self.names)} near-duplicates" if near else "",
        ]
        copied = "; ".join(part for part in said if part) or f"no duplicates among {self.n} samples"
        copied += f" (such as {pairs[0][0]} of {pairs[0][1]})" if pairs else ""
        share = len(pairs) / max(self.n, 1)
        status: Status = "remark" if share > LIMIT else "pass"
        if status == "remark":
            copied += ": confidence intervals are too narrow; remove them (robustkit clean-data)"
        known, overlap = self._overlap(classifier, tuning, data_sha256)
        if known is not None and known > 0:
            status = "fail" if known > LIMIT else "remark"
        value = f"{len(pairs)} duplicates" + ("" if known is None else f", {100 * known:.1f} % in the tuning data")
        limit = f"at most {100 * LIMIT:g} % duplicates, none in the tuning data"
        return diagnostic("Q23", value, limit, status, f"{copied}; {overlap}")

    def _overlap(self, classifier: Classifier, tuning: Any, data_sha256: str | None) -> tuple[float | None, str]:
        """Returns the share of samples that the tuning data hold, None where that is unknown, and words for it."""
        if tuning is None:
            return None, "no tuning data given"
        if isinstance(tuning, str):
            if not is_hash(tuning):
                raise ConfigurationError(
                    f"tuning data: expected data or the 64 hexadecimal digits of their SHA-256, got {tuning!r}; "
                    "a report gives it as data.sha256"
                )
            if tuning.removeprefix("sha256:") == data_sha256:
                return 1.0, "these are the tuning data: audit samples that the model was not tuned on"
            return 0.0, "not the tuning data as a whole; a hash cannot tell single samples"
        known: dict[str, None] = {}
        n = 0
        for batch in batches(tuning, 4 * 1024):
            x = classifier.accept(batch.x).cpu()
            n += len(x)
            known |= dict.fromkeys(self.first[d] for d in _digests(x) if d in self.first)
            if self.names:
                small = reduced(x)
                if small.shape[1:] != self.small[0].shape[1:]:
                    raise ConfigurationError(
                        f"tuning data: expected inputs like the audited ones, got {tuple(x.shape[1:])}; load them alike"
                    )
                known |= dict.fromkeys(name for name, _ in self._near(small))
        if not known:
            return 0.0, f"none of them in {n} tuning samples"
        some = ", ".join(list(known)[:3])
        return len(known) / self.n, f"{len(known)} are in the {n} tuning samples ({some}, ...): audit other samples"

    def _near(self, others: Tensor | None) -> list[tuple[str, str]]:
        """Returns near copies among the samples kept, each with an earlier one, or those with one among `others`."""
        x = torch.cat(self.small)
        if len(x) < FEWEST:
            return []
        here, there = features(x, others)
        radius = NEAR * float(np.median(neighbours(here, count=1)[0]))
        exact = {name for name, _ in self.twice}
        if others is None:
            distances, places = neighbours(here)
            rows, columns = np.nonzero(distances <= radius)
            partners = places[rows, columns]
            pairs = {self.names[i]: self.names[j] for i, j in zip(rows, partners, strict=True) if j < i}
        else:
            nearest: Array = neighbours(there, here, count=1)[0][:, 0]
            pairs = {self.names[i]: "" for i in np.flatnonzero(nearest <= radius)}
        return [(name, other) for name, other in pairs.items() if name not in exact or others is not None]


def is_hash(text: str) -> bool:
    """Returns whether a text is a SHA-256 in hexadecimal digits."""
    return _HASH.fullmatch(text) is not None


def _digests(x: Tensor) -> list[bytes]:
    return [hashlib.sha256(row.tobytes()).digest()[:16] for row in x.float().cpu().contiguous().numpy()]
