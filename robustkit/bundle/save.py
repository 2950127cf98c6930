"""Writing a bundle: all of it or none."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any

from robustkit.base.errors import ConfigurationError
from robustkit.base.lock import claimed, lock_file
from robustkit.base.new_folder import draft_beside, movable, recover, swap
from robustkit.base.settings import Scalar, every, flag, instance
from robustkit.base.settings import path as known_path
from robustkit.bundle.keys import PrivateKey, read_private_key
from robustkit.bundle.signing import build_statement, seal
from robustkit.bundle.timestamp import check_timestamp
from robustkit.evaluation.result import Evaluation
from robustkit.model.classifier import Classifier
from robustkit.report import Artefact, Report, build_audit, build_report, render_html, render_markdown, to_json
from robustkit.report.document.manifest import NAME, PAGES, SIGNATURE, build_manifest, to_text, with_files
from robustkit.report.document.open_audit import disagreement

ILLUSTRATED = 4  # samples of each audit that are also there as pictures
_REPORT = re.compile(r"report\.(json|html|md)|ledger(-\w+)?\.csv")
_DRAFT = re.compile(r"\.(.+\.)?[0-9a-f]{16}\.tmp/.*")  # left by a process that was killed
_BEFORE = "earlier.json"  # in a draft: the manifest of the bundle that it replaces
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a zip archive can hold


def save_evaluation(evaluation: Evaluation, classifier: Classifier, folder: str | Path, **named: Any) -> Path:
    """Writes the bundle of one evaluation, see `Evaluation.save`, and returns the folder."""
    report = build_report([build_audit(evaluation, classifier, **named)], title=named["name"], seed=evaluation.seed)
    return save_bundle(report, evaluation, folder)


def save_bundle(
    report: Report,
    evaluations: Evaluation | Sequence[Evaluation],
    folder: str | Path,
    *,
    loads: Sequence[Mapping[str, Scalar]] | None = None,
    files: Mapping[str, bytes] | None = None,
    archive: bool = False,
    sign: PrivateKey | str | Path | None = None,
    timestamp: str | None = None,
) -> Path:
    """Writes everything a report rests on into a folder, whole or not at all, and returns the folder.

    It holds `report.json`, its pages, a ledger for each audit, the adversarial points where they were kept
    (`robustkit.evaluate(..., evidence=True)`), a few pictures, and `manifest.json` with the SHA-256 of every file.
    `robustkit.verify` checks it. An earlier bundle in the same place is replaced.

    Args:
        report: From `robustkit.report.build.build_report`.
        evaluations: What its audits were built from, in their order.
        folder: Where; a new folder, or one that holds nothing but an earlier bundle.
        loads: For each audit, how to load model and data: values for the options of `robustkit audit` by name.
        files: Other files to take along, by name.
        archive: Also write the same as one file, `folder`.zip; equal content, equal bytes.
        sign: The PEM file of an ed25519 key that signs it, for `robustkit.verify(..., key=...)`. The password of an
            encrypted one is taken from the environment variable ROBUSTKIT_SIGN_PASSWORD.
        timestamp: The http or https address of a time-stamping authority (RFC 3161), which confirms when the signature
            existed; it is sent the SHA-256 of the signature and nothing else.

    Raises:
        ConfigurationError: If folder and report do not fit, the key is none, the authority does not answer, or the
            files cannot be written there.
    """
    folder = known_path("bundle", "folder", folder)
    instance("bundle", "report", report, Report)
    flag("bundle", "archive", archive)
    every("bundle", "loads", [] if loads is None else loads, Mapping)
    _check_files(files)
    key = _signing_key(sign, timestamp)
    if not isinstance(evaluations, Evaluation):
        every("bundle", "evaluations", evaluations, Evaluation)
    check_folder(folder)
    found = [evaluations] if isinstance(evaluations, Evaluation) else [*evaluations]
    if [e.data_sha256 for e in found] != [audit.data.sha256 for audit in report.audits]:
        raise ConfigurationError(
            f"bundle: expected the evaluations that the {len(report.audits)} audits of the report were built from, got "
            f"{len(found)} others; give them in the same order"
        )
    for audit, evaluation in zip(report.audits, found, strict=True):
        if differs := disagreement(audit, evaluation.ledger):
            raise ConfigurationError(
                f"bundle: expected the evaluation of '{audit.subject.name}', got one with {differs}; give them in the"
                " order of the audits"
            )
    if loads is not None and len(loads) != len(found):
        raise ConfigurationError(f"bundle: expected {len(found)} loads, one for each audit, got {len(loads)}; add them")
    kept = [e.evidence is not None for e in found]
    manifest = build_manifest(report, loads or [{}] * len(found), kept)
    try:
        with _draft(folder, archive) as place:
            hashes = {name: _write(place / name, content) for name, content in (files or {}).items()}
            for part, evaluation in zip(manifest.audits, found, strict=True):
                hashes[part.ledger] = _write(place / part.ledger, evaluation.ledger.to_csv().encode())
                if part.adversarials and evaluation.evidence:
                    hashes[part.adversarials] = evaluation.evidence.write(place / part.adversarials)
            artefacts = [Artefact(name, hash) for name, hash in sorted(hashes.items())]
            report = dataclasses.replace(report, artefacts=(*report.artefacts, *artefacts))
            for name, content in {**dict(zip(PAGES, pages(report), strict=True)), **illustrations(report)}.items():
                hashes[name] = _write(place / name, content)
            manifest = with_files(manifest, hashes)
            _write(place / NAME, to_text(manifest).encode())
            if key is not None:
                _write(place / SIGNATURE, seal(build_statement(manifest, report), key))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(
            f"bundle: expected a folder that can be written, got '{folder}' ({reason}); choose another"
        ) from error
    return folder


def _check_files(files: Mapping[str, bytes] | None) -> None:
    instance("bundle", "files", files, Mapping, NoneType)
    files = files or {}
    every("bundle", "the names of files", [*files], str)
    if {NAME, SIGNATURE} & {*files}:
        raise ConfigurationError(f"bundle: expected other files than {NAME} and {SIGNATURE}, got one; rename it")
    every("bundle", "the content of files", [*files.values()], bytes)


def _signing_key(sign: PrivateKey | str | Path | None, timestamp: str | None) -> PrivateKey | None:
    check_timestamp(timestamp, sign)
    key = sign if sign is None or isinstance(sign, PrivateKey) else read_private_key(known_path("bundle", "sign", sign))
    return key if key is None or timestamp is None else dataclasses.replace(key, timestamp=timestamp)


def check_folder(folder: Path) -> None:
    """Raises ConfigurationError where `folder` holds anything that does not belong to a bundle."""
    others = sorted(files_in(folder) - _earlier(folder))
    if others:
        raise ConfigurationError(
            f"--out: expected a new folder or one with nothing but an earlier report, got '{folder}' with "
            f"'{others[0]}'; choose another"
        )


def files_in(folder: Path) -> set[str]:
    """Returns the names of all files in a folder and those below it, with forward slashes, but that of its lock."""
    lock = lock_file(folder)
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir() and p != lock}


def _earlier(folder: Path) -> set[str]:
    """Returns those files that belong to an earlier bundle or to a report without one, and may be replaced."""
    there = files_in(folder)
    own = {name for name in there if _DRAFT.fullmatch(name)}
    listings = [NAME, *(name for name in own if name.endswith((f"/{NAME}", f"/{_BEFORE}")))]
    listed = [names for listing in listings if (names := _listed(folder / listing)) is not None]
    if listed:
        return own | there & {NAME, SIGNATURE, *chain(*listed)}
    return own | {name for name in there if _REPORT.fullmatch(name)}


def _listed(manifest: Path) -> list[str] | None:
    """Returns the names of the files in a manifest, None where it cannot be read."""
    try:
        return [*json.loads(manifest.read_bytes())["files"]]
    except Exception:
        return None


def pages(report: Report) -> tuple[bytes, ...]:
    """Returns the report as JSON, HTML and Markdown."""
    return tuple(text.encode() for text in (to_json(report), render_html(report), render_markdown(report)))


def illustrations(report: Report) -> dict[str, bytes]:
    """Returns pictures of the first samples of the galleries as PNG files, by name."""
    found = {}
    for number, audit in enumerate(report.audits, 1):
        for exhibit in audit.gallery[:ILLUSTRATED]:
            stem = f"png/{number}-{exhibit.id}" if len(report.audits) > 1 else f"png/{exhibit.id}"
            for what in ("clean", "adversarial", "difference"):
                found[f"{stem}-{what}.png"] = base64.b64decode(getattr(exhibit, what).png)
    return found


def pack(folder: Path, path: Path) -> None:
    """Writes all files of a folder into a zip archive: sorted, uncompressed, undated, so that bytes never differ."""
    with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _write(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _draft(folder: Path, archive: bool) -> Iterator[Path]:
    """Context with an empty folder that takes the place of `folder` at the end; after an error nothing is left.

    Files inside are written plainly: the folder as a whole takes its name at the end, not each of them, and a process
    that is killed leaves the earlier bundle as it was. In a folder that cannot be moved, such as a mount point, the
    manifest goes first and comes last: without it nothing is taken for a bundle.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = draft_beside(folder)
    packed, target = folder.parent / f"{place.name}.zip", folder.parent / f"{folder.name}.zip"
    inside = folder.is_dir() and not movable(folder)
    place = folder / place.name if inside else place
    with claimed(folder):
        recover(folder)
        place.mkdir()
        try:
            yield place
            if archive:
                pack(place, packed)
            if inside:
                _take_over(place, folder)
            else:
                swap(place, folder)
                _give_back(place, folder)
            if archive:
                packed.replace(target)
        finally:
            shutil.rmtree(place, ignore_errors=True)
            packed.unlink(missing_ok=True)


def _take_over(place: Path, folder: Path) -> None:
    new, old = files_in(place), {name for name in _earlier(folder) if not name.startswith(f"{place.name}/")}
    if NAME in old:
        (folder / NAME).rename(place / _BEFORE)  # both lists stay: a later run knows what a killed one left
    for name in old - {NAME}:
        (folder / name).unlink()
    for name in sorted(new, key=lambda name: name == NAME):
        (folder / name).parent.mkdir(exist_ok=True)
        (place / name).rename(folder / name)


def _give_back(place: Path, folder: Path) -> None:
    """Moves what somebody put into the earlier folder at the last moment into the new one."""
    for name in files_in(place) - _earlier(place):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).rename(folder / name)
