"""Whether a bundle is about the weights and the data that somebody expects, by hashes known from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import every, shown
from robustkit.bundle.failure_messages import Mismatch
from robustkit.bundle.verification_result import Notes
from robustkit.model.weights import sha256
from robustkit.report.document.report import Data, Report

SHA256 = re.compile("[0-9a-fA-F]{64}")


def expected_hashes(setting: str, value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Returns SHA-256 sums in lower case: none, one for all audits, or one for each.

    Raises:
        ConfigurationError: If one is none.
    """
    hashes = [value] if isinstance(value, str) else [] if value is None else value
    every("verify", setting, hashes, str)
    for one in hashes:
        if not SHA256.fullmatch(one):
            raise ConfigurationError(
                f"verify: expected {setting} to be a SHA-256 of 64 hexadecimal digits, got {shown(one)}; give it whole"
            )
    return tuple(one.lower() for one in hashes)


def check_expected(
    notes: Notes, report: Report, weights: tuple[str, ...], data: tuple[str, ...], files: Sequence[Path | None]
) -> None:
    """Checks the hashes that a report states; that they are true is for the checks with model and data.

    Args:
        notes: Where findings are entered.
        report: The report.
        weights: For each audit, of the tensors or of the weight file; empty where nothing is expected.
        data: The same of the samples.
        files: The weight file of each audit, where it is here.
    """
    if weights:
        found = []
        for number, expected in enumerate(weights):
            subject = report.audits[number].subject
            if expected == subject.weights_sha256:
                continue
            if expected == subject.weights_file_sha256:
                _check_file(notes, expected, files[number])
                continue
            told = subject.weights_sha256 or subject.weights_file_sha256
            found.append(_other(number, "subject.weights_sha256", expected, told))
        notes.made("summaries", "hash of the expected weights", found)
    if data:
        stated = [audit.data for audit in report.audits]
        found = [
            _other(n, "data.sha256", expected, stated[n].sha256)
            for n, expected in enumerate(data)
            if expected not in _hashes(stated[n])
        ]
        notes.made("summaries", "hash of the expected data", found)


def one_each(setting: str, hashes: tuple[str, ...], audits: int) -> tuple[str, ...]:
    """Returns a hash for each audit, or none.

    Raises:
        ConfigurationError: If their number fits neither one audit nor all.
    """
    if len(hashes) not in (0, 1, audits):
        each = f", or for each of {audits} audits" if audits > 1 else ""
        raise ConfigurationError(
            f"verify: expected {setting} once{each}, got {len(hashes)} times; give them in the order of the report"
        )
    return hashes * audits if len(hashes) == 1 else hashes


def _hashes(data: Data) -> set[str]:
    """Returns the hashes by which an audit's data are known: of its samples, and of all they were chosen from."""
    return {data.sha256, *([data.whole.sha256] if data.whole else [])}


def _check_file(notes: Notes, expected: str, file: Path | None) -> None:
    """Holds the weight file against its hash, which says nothing of the tensors that were judged."""
    what = "the expected weight file"
    if file is not None and sha256(file) == expected:
        notes.made("model", what, [])
    else:
        why = f"{what} is not here" if file is None else f"{what} is another one than '{file.name}'"
        notes.left_out("model", what, f"{why}: give it as --weights, or expect weights_sha256", f"that it is {what}")


def _other(number: int, field: str, expected: str, stated: str | None) -> Mismatch:
    return Mismatch(f"report.json: audits[{number}].{field}", f"{expected[:12]}...", f"{(stated or 'none')[:12]}...")
