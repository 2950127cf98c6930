"""Does the worst case over several threat models follow from the ledgers?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from robustkit.base.errors import ConfigurationError
from robustkit.bundle.check_report import read_ledger
from robustkit.bundle.failure_messages import Mismatch, compare
from robustkit.evaluation.ledger import Ledger
from robustkit.report.document.across import across_threats
from robustkit.report.document.manifest import Manifest
from robustkit.report.document.report import Report

_WHERE = "report.json: across"


def check_across(folder: Path, manifest: Manifest, report: Report) -> Iterator[Mismatch]:
    """Yields what is false in the worst case over all threat models; ledgers that cannot be read are told elsewhere."""
    if report.across is None:
        return
    models = {(audit.data.sha256, audit.subject.weights_sha256) for audit in report.audits}
    if len(models) > 1:
        yield Mismatch(_WHERE, "one model on the same samples", f"{len(models)} of them")
    ledgers = [read_ledger(folder, part.ledger) for part in manifest.audits]
    readable = [ledger for ledger in ledgers if isinstance(ledger, Ledger)]
    if len(readable) < len(ledgers):
        return
    names = [f"{audit.threat.norm} {audit.threat.eps}" for audit in report.audits]
    try:
        derived = across_threats(names, readable)
    except ConfigurationError as error:
        yield Mismatch(_WHERE, "what the ledgers say together", str(error))
        return
    yield from compare(dataclasses.asdict(derived), dataclasses.asdict(report.across), _WHERE)
