"""The second check: every figure of the report again from its ledger, every page again from the report."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from robustkit.base.csv_table import read_csv
from robustkit.base.errors import ConfigurationError, one_line
from robustkit.bundle.check_ledger import check_ledger
from robustkit.bundle.check_method import check_protocol
from robustkit.bundle.check_other_figures import check_stated
from robustkit.bundle.failure_messages import Mismatch, compare, compare_audits
from robustkit.bundle.page_text import said
from robustkit.bundle.restore import derive, restore, same_versions, without_later_checks
from robustkit.bundle.save import illustrations, pages
from robustkit.checks.convergence import last_tenth
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.result import Evaluation
from robustkit.maths.intervals import Proportion
from robustkit.report import Report, from_json, result_sha256
from robustkit.report.document.manifest import PAGES, Manifest, build_manifest, with_files
from robustkit.report.document.report import SCHEMA, Audit
from robustkit.report.text import words
from robustkit.report.text.risks import confident_share, considered

_MANIFEST = TypeAdapter(Manifest)
_MOST_VALUES, _MOST_BINS = 1 << 26, 10_000  # of one sample; of a calibration diagram
_PERCENTAGE = re.compile(r"\d+\.\d(?=(?:\s|&nbsp;)*%)")


def read_report(folder: Path) -> Report | Mismatch:
    """Returns the report of a bundle, or why there is none."""
    try:
        return from_json((folder / PAGES[0]).read_bytes().decode(), PAGES[0])
    except (OSError, UnicodeDecodeError, ConfigurationError) as error:
        return Mismatch(PAGES[0], "a report", str(error).removeprefix(f"{PAGES[0]}: "))


def unbounded(report: Report, manifest: Manifest) -> Iterator[Mismatch]:
    """Yields numbers of a report that it would take memory or time without end to build anything upon."""
    if len(report.audits) != len(manifest.audits):
        yield Mismatch("manifest.json: audits", f"{len(report.audits)} as in the report", str(len(manifest.audits)))
    for number, audit in enumerate(report.audits):
        where, shape, names = f"report.json: audits[{number}]", audit.data.input_shape, audit.subject.class_names
        if min(shape, default=1) < 1 or math.prod(shape) > _MOST_VALUES:
            yield Mismatch(f"{where}.data.input_shape", f"at most {_MOST_VALUES:,} values", str(shape))
        if audit.subject.num_classes != len(names):
            yield Mismatch(
                f"{where}.subject.num_classes", f"{len(names)} as there are names", str(audit.subject.num_classes)
            )
        for part in ("clean", "attacked"):
            bins = getattr(audit.calibration, part).bins
            if not 1 <= bins <= _MOST_BINS:
                yield Mismatch(f"{where}.calibration.{part}.bins", f"1 to {_MOST_BINS:,}", str(bins))


def read_ledger(folder: Path, name: str) -> Ledger | Mismatch:
    """Returns a ledger of a bundle, or why there is none."""
    try:
        text = (folder / name).read_bytes().decode()
        ledger = Ledger.from_csv(text, name)
    except (OSError, UnicodeDecodeError, ConfigurationError) as error:
        return Mismatch(name, "a ledger", str(error).removeprefix(f"{name}: "))
    # Names that look like a formula were written as they are until they were escaped.
    same = ledger.to_csv() == text or read_csv(ledger.to_csv()) == read_csv(text)
    return ledger if same else Mismatch(name, "numbers as robustkit writes them", "others")


def check_report(folder: Path, manifest: Manifest, report: Report) -> Iterator[Mismatch]:
    """Yields what in the report as a whole does not follow from its audits, and in the manifest not from the report."""
    stated = (report.result_sha256, result_sha256(report.audits))
    if stated[0] != stated[1]:
        yield Mismatch("report.json: result_sha256", f"{stated[1][:12]}...", f"{stated[0][:12]}...")
    loads = [part.load for part in manifest.audits]
    kept = [part.adversarials is not None for part in manifest.audits]
    expected = with_files(build_manifest(report, loads, kept), manifest.files)
    plain = [_MANIFEST.dump_python(one, mode="json") for one in (expected, manifest)]
    yield from compare(plain[0], plain[1], "manifest.json")
    for artefact in report.artefacts:
        listed = manifest.files.get(artefact.path, "no such file")
        if listed != artefact.sha256:
            yield Mismatch(f"report.json: artefact {artefact.path}", listed[:12], artefact.sha256[:12])
    drawn = illustrations(report)
    for name in sorted({n for n in manifest.files if n.startswith("png/")} | set(drawn)):
        if drawn.get(name) != _bytes(folder / name):
            yield Mismatch(name, "the picture in report.json", "another")


def same_wording(report: Report) -> bool:
    """Returns whether the report was written with the words of this version, so that its texts can be compared."""
    return report.schema == SCHEMA


def check_pages(folder: Path, report: Report) -> tuple[list[Mismatch], bool]:
    """Returns what is wrong with the pages, and whether they were compared word by word.

    They are, whatever drew them: another jinja2 spaces and escapes otherwise, and says the same. Pages with the words
    of another version of robustkit are compared by their percentages: each of them must also be on the page drawn now.
    """
    drawn = dict(zip(PAGES, pages(report), strict=True))
    kept = {name: _bytes(folder / name) or b"" for name in PAGES}
    other = [name for name, page in drawn.items() if kept[name] != page and said(name, kept[name]) != said(name, page)]
    if not other or (same_wording(report) and same_versions(report.environment, "robustkit")):
        return [Mismatch(name, "what report.json gives", "another") for name in other], True
    found, before = [], _percentages("\n".join(_said_before(report)).encode())
    for name in set(other) - {PAGES[0]}:  # the JSON was read, and is compared with the ledger
        strange = sorted(_percentages(kept[name]) - _percentages(drawn[name]) - before)[:1]
        found += [Mismatch(name, "the percentages of report.json", f"{value} %") for value in strange]
    return found, False


def check_figures(
    stated: Audit, ledger: Ledger, report: Report, file: str, where: str
) -> tuple[Evaluation | None, list[Mismatch]]:
    """Returns the evaluation behind an audit, if there is one, and what does not follow from its ledger.

    Args:
        stated: The audit as the report has it.
        ledger: Its ledger.
        report: The report.
        file: Name of the ledger.
        where: The audit's place, such as "report.json: audits[0]".
    """
    names = tuple(attack.name for attack in stated.attacks)
    if names != ledger.attacks:
        return None, [Mismatch(f"{file}: attacks", ", ".join(names), ", ".join(ledger.attacks))]
    try:
        evaluation = restore(stated, ledger, report.environment)
        found = list(check_ledger(evaluation, file))
        derived, texts = derive(stated, evaluation), same_wording(report)
        derived = derived if texts else without_later_checks(derived, stated)
        found += compare_audits(derived, stated, where, texts=texts)
        found += check_protocol(stated, report.environment, where)
        found += check_stated(stated, ledger, where)
    except Exception as error:  # whatever figures that cannot be make of code that trusts them
        return None, [Mismatch(where, f"figures that follow from {file}", one_line(error))]
    return evaluation, found


def _said_before(report: Report) -> Iterator[str]:
    """Yields figures that pages of earlier versions had and pages of today name otherwise, draw, or leave out."""
    for audit in report.audits:
        yield from (risk.text for risk in considered(audit))
        yield from (f"{words.percent(share.value)} {words.interval(share)}" for share in _proportions(audit))
        yield from (words.percent(last_tenth(attack.loss_path)) for attack in audit.attacks if attack.loss_path)
        yield from (words.percent(confident_share(audit, attacked).value) for attacked in (False, True))
        for side in (audit.calibration.clean, audit.calibration.attacked):
            means = (side.mean_confidence, side.confidence_when_right, side.confidence_when_wrong)
            yield from map(words.percent, (*means, *(one.confidence for one in side.reliability)))
        if risk := audit.risk_coverage:
            yield from map(words.percent, (*risk.coverage, *risk.clean, *risk.attacked))


def _proportions(value: Any) -> Iterator[Proportion]:
    """Yields every proportion of a report that has samples."""
    if isinstance(value, Proportion):
        yield from (value,) if value.n else ()
    elif dataclasses.is_dataclass(value):
        yield from (found for field in dataclasses.fields(value) for found in _proportions(getattr(value, field.name)))
    elif isinstance(value, tuple):
        yield from (found for one in value for found in _proportions(one))


def _percentages(page: bytes) -> set[str]:
    return set(_PERCENTAGE.findall(page.decode(errors="replace")))


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
