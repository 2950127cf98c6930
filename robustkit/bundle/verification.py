"""Verifying a bundle: four checks, each deeper than the one before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.base.settings import integer, wrong
from robustkit.base.settings import path as known_path
from robustkit.base.settings import seed as known_seed
from robustkit.bundle.check_across import check_across
from robustkit.bundle.check_audit import AuditCheck, Model
from robustkit.bundle.check_expected import check_expected, expected_hashes, one_each
from robustkit.bundle.check_report import check_pages, check_report, read_report, unbounded
from robustkit.bundle.check_signature import check_signature
from robustkit.bundle.failure_messages import Mismatch
from robustkit.bundle.keys import PublicKey, read_public_key
from robustkit.bundle.open_bundle import check_files, opened
from robustkit.bundle.timestamp import Authorities, read_authorities
from robustkit.bundle.verification_result import Notes, Verification
from robustkit.report.document.manifest import NAME, Manifest
from robustkit.report.document.report import Report
from robustkit.report.text.trust import on_trust


def verify(
    bundle: str | Path,
    classifier: Model | list[Model | None] | None = None,
    data: Any = None,
    *,
    weights: Path | list[Path | None] | None = None,
    key: PublicKey | str | Path | None = None,
    timestamp_ca: Authorities | str | Path | None = None,
    expect_weights: str | Sequence[str] | None = None,
    expect_data: str | Sequence[str] | None = None,
    batch_size: int = 256,
    attack_again: int = 0,
    seed: int | None = None,
) -> Verification:
    """Returns which claims of a bundle hold, which are false, and which have to be taken on trust.

    Four checks: the files are the ones that were written; every figure of the report follows from the ledger, by the
    code that made it; with `data`, every stored point lies inside the threat around its sample, measured in float64
    without tolerance; with `classifier`, too, one pass over samples and points gives what the ledger says of them. That
    a sample called robust cannot be broken remains a claim, unless `attack_again` puts some of them to the test.

    Args:
        bundle: A folder that `save_bundle` wrote, or its .zip archive.
        classifier: The model. Here and below: one of each for every audit, in a list, where there are several.
        data: The samples, in whatever order, as for `robustkit.evaluate`; more than were audited do no harm.
        weights: The weight file, to be hashed.
        key: The PEM file of the ed25519 key that must have signed the bundle; None leaves a signature unchecked.
        timestamp_ca: The PEM file with the root certificate of the time-stamping authority (RFC 3161) that must have
            confirmed when it was signed; needs `key`. None leaves a timestamp unchecked.
        expect_weights: SHA-256 that the report must state of the weights, `weights_sha256` or `weights_file_sha256`.
        expect_data: SHA-256 that the report must state of the data, `data.sha256`.
        batch_size: Rows the model sees at once.
        attack_again: Attack so many robust samples of each audit again, picked at random, by the attacks it names; a
            remark gives the upper bound, with 95 % confidence, of how many others the same attacks break.
        seed: Of the choice of these samples; a fresh one where it is None, so that nobody knows it beforehand.

    Raises:
        ConfigurationError: If there is no bundle, or the arguments do not fit it.
    """
    batch_size = integer("verify", "batch_size", batch_size)
    integer("verify", "attack_again", attack_again, 0)
    seed = None if seed is None else known_seed("verify", seed)
    for file in weights if isinstance(weights, list) else [weights]:
        if file is not None and not known_path("verify", "weights", file).is_file():
            raise ConfigurationError(f"verify: expected a weight file, got '{file}', which is none; check the path")
    readable = any(hasattr(data, name) for name in ("__iter__", "__getitem__", "source"))
    if isinstance(data, str | bytes) or not (data is None or readable):
        raise wrong("verify", "data", data, "samples, as for robustkit.evaluate")
    signer = key if key is None or isinstance(key, PublicKey) else read_public_key(known_path("verify", "key", key))
    if timestamp_ca is not None and signer is None:
        raise ConfigurationError(
            "verify: expected a key beside timestamp_ca, which confirms a signature; give key, too"
        )
    if timestamp_ca is not None and not isinstance(timestamp_ca, Authorities):
        timestamp_ca = read_authorities(known_path("verify", "timestamp_ca", timestamp_ca))
    hashes = {"expect_weights": expect_weights, "expect_data": expect_data}
    expected = {name: expected_hashes(name, value) for name, value in hashes.items()}
    with opened(known_path("verify", "bundle", bundle)) as folder:
        manifest, altered = check_files(folder)
        notes = Notes()
        count = f"{len(manifest.files)} files, their hashes" if manifest else "files"
        notes.made("files", f"{count} and {NAME}", altered)
        if manifest is not None:
            audits = len(manifest.audits)
            columns = (
                _each("classifier", classifier, audits),
                _each("data", data, audits),
                _each("weights", weights, audits),
            )
            wanted = {name: one_each(name, values, audits) for name, values in expected.items()}
            given = list(zip(*columns, strict=True))
            report = _check(notes, folder, manifest, given, batch_size, attack_again, seed)
            if report is not None:
                check_signature(notes, folder, manifest, report, signer, timestamp_ca)
                check_expected(notes, report, wanted["expect_weights"], wanted["expect_data"], columns[2])
    return notes.closed(str(bundle))


def _each(name: str, value: Any, count: int) -> list[Any]:
    """Returns one value for each audit."""
    if count == 1 or value is None:
        return [value] * count
    if not isinstance(value, list) or len(value) != count:
        raise ConfigurationError(
            f"verify: expected a list with {name} for each of {count} audits, got {type(value).__name__}; "
            "give one for each, or None"
        )
    return value


def _check(
    notes: Notes,
    folder: Path,
    manifest: Manifest,
    given: list[tuple[Any, Any, Any]],
    batch_size: int,
    again: int,
    seed: int | None,
) -> Report | None:
    """Checks the report as a whole and each of its audits, and returns it where it can be read."""
    report = read_report(folder)
    if isinstance(report, Mismatch):
        notes.made("summaries", "report.json", [report])
        return None
    if endless := [*unbounded(report, manifest)]:
        notes.made("summaries", "sizes in report.json", endless)
        return None
    try:
        derived, together = [*check_report(folder, manifest, report)], [*check_across(folder, manifest, report)]
        wrong, compared = check_pages(folder, report)
    except Exception as error:  # whatever figures that cannot be make of code that trusts them
        broken = Mismatch("report.json", "a report that can be drawn", one_line(error))
        notes.made("summaries", "pages from report.json", [broken])
        return None
    notes.made("summaries", f"{NAME}, hashes and pictures from report.json", derived)
    if report.across is not None:
        notes.made("summaries", "the worst case over all threat models from the ledgers", together)
    if compared:
        notes.made("summaries", "report.html and report.md from report.json", wrong)
    else:
        notes.made("summaries", "percentages in report.html and report.md", wrong)
        what = "the text of report.html and report.md"
        notes.left_out("summaries", what, "written by another version", what)
    notes.invalid += [audit.subject.name for audit in report.audits if audit.verdict.quality == "invalid"]
    notes.trusted += _always(report, again)
    for number, (stated, part, arguments) in enumerate(zip(report.audits, manifest.audits, given, strict=False)):
        AuditCheck(notes, folder, report, stated, part, number, again, seed).make(*arguments, batch_size)
    return report


def _always(report: Report, again: int) -> Iterator[str]:
    """Yields what no bundle can show."""
    tried = f"at most {again:,} of each audit were attacked again" if again else "no attack was run (--attack-again 64)"
    yield f"that a sample called robust cannot be broken: {tried}"
    yield from (what for audit in report.audits for what in on_trust(audit))
