"""What the audits in a folder found, in the order of time."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustkit.base.errors import ConfigurationError
from robustkit.maths.intervals import Proportion
from robustkit.report.document.io import load
from robustkit.report.document.manifest import PAGES
from robustkit.report.document.report import Audit, Report
from robustkit.report.text.sentences import doubtful


@dataclass(frozen=True)
class Entry:
    """One audit: where its report lies, when it was made, of what, against what, and what it found."""

    folder: str
    created: str
    model: str
    data: str
    data_sha256: str
    norm: str
    eps: str
    goal: str
    protocol: str
    fingerprint: str
    clean: Proportion
    robust: Proportion
    quality: str
    doubt: str | None
    requirement: str

    @property
    def time(self) -> datetime.datetime:
        """When it was made."""
        return _time(self.created)


@dataclass(frozen=True)
class Threatened:
    """The audits of one data set under one threat model, the earliest first; only these are drawn on one plot."""

    title: str
    entries: tuple[Entry, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.entries)

    @property
    def methods(self) -> int:
        """By how many different protocols."""
        return len({entry.fingerprint for entry in self.entries})


@dataclass(frozen=True)
class History:
    """Audits by threat model, and why a report was left out."""

    groups: tuple[Threatened, ...]
    left_out: tuple[str, ...]


def read_history(folders: Sequence[Path]) -> History:
    """Returns the audits of every report.json in the folders, however deep.

    Raises:
        ConfigurationError: If there is none that can be read.
    """
    found: dict[tuple[str, ...], list[Entry]] = {}
    left_out, seen = [], set()
    for path in _reports(folders):
        try:
            report = load(path)
            entries = [_entry(path.parent, report, audit) for audit in report.audits]
        except (ConfigurationError, ValueError) as error:
            left_out.append(f"{path}: {str(error).removeprefix(f'{path}: ')}")
            continue
        if report.id not in seen:  # a copy is no second audit
            for one in entries:
                found.setdefault((one.data, one.data_sha256, one.norm, one.eps, one.goal), []).append(one)
        seen.add(report.id)
    if not found:
        where = ", ".join(f"'{folder}'" for folder in folders)
        why = f"; {left_out[0]}" if left_out else ""
        raise ConfigurationError(f"history: expected reports in {where}, got no report.json{why}; name their folder")
    groups = (tuple(sorted(group, key=lambda one: one.time)) for group in found.values())
    return History(tuple(Threatened(_title(group[0]), group) for group in groups), tuple(left_out))


def _reports(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob(PAGES[0])) if folder.is_dir() else [folder]


def _entry(folder: Path, report: Report, audit: Audit) -> Entry:
    _time(report.created)
    return Entry(
        folder=str(folder),
        created=report.created,
        model=audit.subject.name,
        data=audit.data.name,
        data_sha256=audit.data.sha256,
        norm=audit.threat.norm,
        eps=audit.threat.eps,
        goal=audit.threat.goal,
        protocol=audit.method.protocol,
        fingerprint=audit.method.fingerprint,
        clean=audit.clean,
        robust=audit.worst_case.accuracy,
        quality=audit.verdict.quality,
        doubt=doubtful(audit),
        requirement=audit.verdict.requirement,
    )


def _title(entry: Entry) -> str:
    goal = entry.goal.removeprefix("integrity, ")
    return f"{entry.clean.n:,} samples of {entry.data}, {entry.norm} {entry.eps}, {goal}"


def _time(created: str) -> datetime.datetime:
    time = datetime.datetime.fromisoformat(created.replace("Z", "+00:00"))
    return time if time.tzinfo else time.replace(tzinfo=datetime.timezone.utc)
