"""Reading a bundle back: the report, and every evaluation behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import path as known_path
from robustkit.bundle.check_report import check_figures, read_ledger, read_report
from robustkit.bundle.failure_messages import Mismatch
from robustkit.bundle.open_bundle import check_files, opened
from robustkit.evaluation.evidence import WORST, Evidence, StoredEvidence, column_of
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.result import Evaluation
from robustkit.report.document.manifest import Part
from robustkit.report.document.report import Audit, Report


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds.

    Attributes:
        report: The report.
        evaluations: Those its audits were built from, in their order, without the samples that were audited.
    """

    report: Report
    evaluations: tuple[Evaluation, ...]

    @property
    def evaluation(self) -> Evaluation:
        """The only evaluation; raises ConfigurationError where there are several."""
        if len(self.evaluations) != 1:
            raise ConfigurationError(f"bundle: expected one audit, got {len(self.evaluations)}; take from evaluations")
        return self.evaluations[0]


def load_bundle(bundle: str | Path) -> Bundle:
    """Returns what `robustkit audit`, `Evaluation.save` or `save_bundle` wrote, with the adversarial points kept there.

    Hashes, and figures that follow from a ledger, are compared on the way; `robustkit.verify` asks the model, too.

    Args:
        bundle: A folder, or the .zip archive of one.

    Raises:
        ConfigurationError: If it cannot be read, or is not as it was written.
    """
    with opened(known_path("bundle", "the folder", bundle)) as folder:
        manifest, altered = check_files(folder)
        report = read_report(folder) if manifest is not None and not altered else altered[0]
        if manifest is None or isinstance(report, Mismatch):
            raise _refused(bundle, report if isinstance(report, Mismatch) else altered[0])
        both = zip(report.audits, manifest.audits, strict=True)
        return Bundle(report, tuple(_evaluation(bundle, folder, report, *audit, n) for n, audit in enumerate(both)))


def _evaluation(bundle: str | Path, folder: Path, report: Report, stated: Audit, part: Part, number: int) -> Evaluation:
    ledger = read_ledger(folder, part.ledger)
    if not isinstance(ledger, Ledger):
        raise _refused(bundle, ledger)
    evaluation, wrong = check_figures(stated, ledger, report, part.ledger, f"report.json: audits[{number}]")
    if wrong or evaluation is None:
        raise _refused(bundle, wrong[0])
    kept = _points(folder / part.adversarials, ledger.attacks) if part.adversarials else None
    return replace(evaluation, evidence=kept)


def _points(path: Path, attacks: tuple[str, ...]) -> Evidence:
    stored = StoredEvidence(path, attacks)
    columns = {"ids": stored.ids, WORST: stored.worst, **{column_of(name): of for name, of in stored.of.items()}}
    points = stored.points(torch.arange(stored.shape[0], device="cpu"))
    return Evidence.of(attacks, {name: column.numpy() for name, column in columns.items()}, [*points.numpy()])


def _refused(bundle: str | Path, wrong: Mismatch) -> ConfigurationError:
    return ConfigurationError(
        f"bundle '{bundle}': expected it as it was written, got {wrong}; robustkit verify lists what is wrong"
    )
