"""One audit of a report on disk with its ledger: the manifest says which ledger is whose, and the counts confirm it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.foreign_file import content, parsing
from robustkit.evaluation.ledger import Ledger
from robustkit.report.document import manifest
from robustkit.report.document.io import load
from robustkit.report.document.report import Audit, Report


@dataclass(frozen=True)
class OpenedAudit:
    """A report, one of its audits, and the ledger that audit was built from."""

    report: Report
    audit: Audit
    ledger: Ledger


def open_audit(source: str | Path, name: str | None, option: str) -> OpenedAudit:
    """Returns the audit called `name`, or the only one, of a report with its ledger beside it.

    Args:
        source: Folder of the report, or the report.json in it.
        name: Which model, where there are several.
        option: What to call the choice of a model in errors, such as "--before".

    Raises:
        ConfigurationError: If a file is missing or was changed, the model is not there, or the ledger is another's.
    """
    path = Path(source)
    path = path / "report.json" if path.is_dir() else path
    report = load(path)
    number = place_of(report, name, str(path), option)
    listed, audit = _ledger_name(path.parent, report, number), report.audits[number]
    hashes = {artefact.path: artefact.sha256 for artefact in report.artefacts}
    file = path.parent / listed
    with parsing("report", f"the ledger '{file}' beside the report", "keep them together"):
        written = content(file)
    if hashlib.sha256(written).hexdigest() != hashes.get(listed):
        raise ConfigurationError(f"report: expected '{file}' as the audit wrote it, got another file; audit again")
    ledger = Ledger.from_csv(written.decode(), str(file))
    if differs := disagreement(audit, ledger):
        raise ConfigurationError(
            f"report: expected '{file}' to be the ledger of '{audit.subject.name}', got {differs}; audit again"
        )
    return OpenedAudit(report, audit, ledger)


def place_of(report: Report, name: str | None, where: str, option: str) -> int:
    """Returns the place of the audit called `name`, or of the only one.

    Raises:
        ConfigurationError: If no audit or several have that name, or there are several and no name is given.
    """
    known = [audit.subject.name for audit in report.audits]
    if name is None and len(known) > 1:
        raise ConfigurationError(
            f"{option}: expected the name of one of the models in '{where}', got none; add {option} '{known[0]}'"
        )
    if name is not None and name not in known:
        raise ConfigurationError(f"{option}: expected a model in '{where}', got {name!r}{suggest(name, known)}")
    if name is not None and known.count(name) > 1:
        raise ConfigurationError(
            f"{option}: expected a name that one model in '{where}' has, got {name!r}, which {known.count(name)} have;"
            " audit them again with a --name for each"
        )
    return 0 if name is None else known.index(name)


def disagreement(audit: Audit, ledger: Ledger) -> str | None:
    """Returns the first count of an audit that is not its ledger's, None where all agree."""
    names = tuple(attack.name for attack in audit.attacks)
    if names != ledger.attacks:
        return f"one of other attacks ({', '.join(ledger.attacks) or 'none'})"
    if audit.data.ids_sha256 != ledger.ids_sha256:
        return "one of other samples"
    counted = [("without an attack", audit.clean, ledger.right)]
    counted += [("under every attack", audit.worst_case.accuracy, ledger.robust)]
    counted += [(f"after {one.name}", one.accuracy, ledger.right_under(one.name)) for one in audit.attacks]
    counted += [
        (f"of class '{row.name}' under every attack", row.robust, ledger.robust[ledger["label"] == row.index])
        for row in audit.per_class
    ]
    for what, stated, hits in counted:
        if (stated.k, stated.n) != (found := (int(hits.sum()), len(hits))):
            return f"{found[0]} of {found[1]} correct {what} where the report has {stated.k} of {stated.n}"
    return None


def _ledger_name(folder: Path, report: Report, number: int) -> str:
    """Returns the file name of an audit's ledger, from the manifest; a lone audit has a lone ledger."""
    place = folder / manifest.NAME
    if place.is_file():
        parts: Sequence[manifest.Part] = manifest.from_text(content(place).decode()).audits
        if [part.name for part in parts] != [audit.subject.name for audit in report.audits]:
            raise ConfigurationError(
                f"report: expected the models of the report in '{place}', got others; audit again, or take both files"
                " from one bundle"
            )
        return parts[number].ledger
    ledgers = [file.path for file in report.artefacts if Path(file.path).name.startswith("ledger")]
    if len(report.audits) > 1 or len(ledgers) != 1:
        raise ConfigurationError(
            f"report: expected {manifest.NAME} in '{folder}', which says whose ledger is whose, got none; keep the"
            " files of a bundle together"
        )
    return ledgers[0]
