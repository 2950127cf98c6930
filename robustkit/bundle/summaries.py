"""The second check: every figure of the report again from its ledger, every page again from the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from robustkit.bundle.findings import Findings, Mismatch, compare, compare_audits, same_number
from robustkit.bundle.manifest import PAGES, Manifest, build_manifest, with_files
from robustkit.bundle.restore import derive, restore, same_versions
from robustkit.bundle.save import illustrations, pages
from robustkit.errors import ConfigurationError
from robustkit.evaluation import Evaluation
from robustkit.ledger import Ledger
from robustkit.report import Report, from_json, result_sha256
from robustkit.report.build import DRAWN_WITH
from robustkit.report.document import Audit

_MANIFEST = TypeAdapter(Manifest)


def read_report(folder: Path) -> Report | Mismatch:
    """Returns the report of a bundle, or why there is none."""
    try:
        return from_json((folder / PAGES[0]).read_bytes().decode(), PAGES[0])
    except (OSError, UnicodeDecodeError, ConfigurationError) as error:
        return Mismatch(PAGES[0], "a report", str(error).removeprefix(f"{PAGES[0]}: "))


def read_ledger(folder: Path, name: str) -> Ledger | Mismatch:
    """Returns a ledger of a bundle, or why there is none."""
    try:
        text = (folder / name).read_bytes().decode()
        ledger = Ledger.from_csv(text, name)
    except (OSError, UnicodeDecodeError, ConfigurationError) as error:
        return Mismatch(name, "a ledger", str(error).removeprefix(f"{name}: "))
    return ledger if ledger.to_csv() == text else Mismatch(name, "numbers as robustkit writes them", "others")


def check_report(folder: Path, manifest: Manifest, report: Report) -> Iterator[Mismatch]:
    """Yields what in the report as a whole does not follow from its audits, and in the manifest not from the report."""
    stated = (report.result_sha256, result_sha256(report.audits))
    if stated[0] != stated[1]:
        yield Mismatch("report.json: result_sha256", f"{stated[1][:12]}...", f"{stated[0][:12]}...")
    loads = [part.load for part in manifest.audits]
    kept = [part.adversarials is not None for part in manifest.audits]
    if len(loads) != len(report.audits):
        yield Mismatch("manifest.json: audits", f"{len(report.audits)} as in the report", str(len(loads)))
        return
    expected = with_files(build_manifest(report, loads, kept), manifest.files)
    yield from compare(*(_MANIFEST.dump_python(m, mode="json") for m in (expected, manifest)), "manifest.json")
    for artefact in report.artefacts:
        listed = manifest.files.get(artefact.path, "no such file")
        if listed != artefact.sha256:
            yield Mismatch(f"report.json: artefact {artefact.path}", listed[:12], artefact.sha256[:12])
    drawn = illustrations(report)
    for name in sorted({n for n in manifest.files if n.startswith("png/")} | set(drawn)):
        if drawn.get(name) != _bytes(folder / name):
            yield Mismatch(name, "the picture in report.json", "another")


def check_pages(folder: Path, report: Report) -> list[Mismatch] | None:
    """Returns which pages are not what the report gives, None where another version of the tools drew them."""
    if not same_versions(report.environment, "robustkit", *DRAWN_WITH):
        return None
    drawn = zip(PAGES, pages(report), strict=True)
    return [Mismatch(name, "what report.json gives", "another") for name, page in drawn if _bytes(folder / name) != page]


def check_audit(stated: Audit, ledger: Ledger, report: Report, file: str, where: str) -> tuple[Evaluation | None, list[Mismatch]]:
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
        found += compare_audits(derive(stated, evaluation), stated, where)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return None, [Mismatch(where, f"figures that follow from {file}", " ".join(str(error).split()))]
    return evaluation, found


def check_ledger(evaluation: Evaluation, file: str) -> Findings:
    """Returns where a ledger contradicts itself: who was attacked, what a margin means, which point is the worst."""
    ledger, found = evaluation.ledger, Findings()
    rows = range(len(ledger))
    sample = ledger.names or [str(id) for id in ledger["id"]]
    cells = {name: ledger[name].tolist() for name in ledger.columns}

    def check(column: str, right: np.ndarray | list[bool], expected: list[object] | object) -> None:
        for row in np.flatnonzero(~np.asarray(right, dtype=bool)):
            wanted = expected[row] if isinstance(expected, list) else expected
            found.add(f"{file}: {column}", sample[row], wanted, cells[column][row])

    classes = evaluation.num_classes
    unique = np.zeros(len(ledger), dtype=bool)
    unique[np.unique(ledger["id"], return_index=True)[1]] = True
    check("id", unique & (ledger["id"] >= 0), "a number of its own")
    for column in ("label", "clean_prediction", "worst_prediction"):
        check(column, (ledger[column] >= 0) & (ledger[column] < classes), f"a class below {classes}")
    standing, target, label = ledger.right, evaluation.threat.target, ledger["label"]
    gaps = []
    for attack in ledger.attacks:
        predicted, gap = ledger[f"{attack}/prediction"], ledger[f"{attack}/margin"]
        attacked = predicted >= 0
        check(f"{attack}/prediction", attacked == standing, ["a class" if s else "no entry" for s in standing])
        check(f"{attack}/prediction", predicted < classes, f"a class below {classes}")
        clear = attacked & (gap != 0) & ~np.isnan(gap)
        check(f"{attack}/prediction", ~clear | ((gap > 0) == (predicted != label)),
              [f"{'another class than' if g > 0 else 'class'} {y}, as its margin says" for g, y in zip(gap, label, strict=True)])
        for column in (c for c in ledger.columns if c.startswith(f"{attack}/")):
            blank = np.isnan(ledger[column]) if ledger[column].dtype.kind == "f" else ledger[column] == -1
            check(column, attacked | blank, "no entry")
        hit = attacked & ((predicted == target) if target is not None else (predicted != label))
        if evaluation.protocol.cascade:
            standing = standing & ~hit
        gaps.append(np.where(np.isnan(gap), -np.inf, gap))
    worst = np.argmax(gaps, axis=0)
    worst[np.isneginf(np.max(gaps, axis=0))] = -1
    check("worst_attack", ledger["worst_attack"] == worst, worst.tolist())
    for column in ("prediction", "confidence", "nll", "brier"):
        source = [f"{ledger.attacks[w]}/{column}" if w >= 0 else f"clean_{column}" for w in worst]
        expected = [cells[s][row] if s in cells else cells[f"worst_{column}"][row] for row, s in zip(rows, source, strict=True)]
        agree = [same_number(a, b) for a, b in zip(cells[f"worst_{column}"], expected, strict=True)]
        check(f"worst_{column}", agree, expected)
    return found


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
