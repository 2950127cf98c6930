"""Who signed a bundle, and whether what they signed is what lies in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robustkit.bundle.failure_messages import Mismatch
from robustkit.bundle.keys import PublicKey
from robustkit.bundle.signing import Signature, build_statement, unseal
from robustkit.bundle.timestamp import Authorities, stated_time
from robustkit.bundle.verification_result import Notes
from robustkit.report.document.manifest import SIGNATURE, Manifest
from robustkit.report.document.report import Report

_SHOWN = 12  # characters of a key id or a hash


def check_signature(
    notes: Notes,
    folder: Path,
    manifest: Manifest,
    report: Report,
    key: PublicKey | None,
    authorities: Authorities | None = None,
) -> None:
    """Checks the signature of a bundle by a key that is known from elsewhere, and when it was made by an authority.

    Without a key, only what it is about.
    """
    file = folder / SIGNATURE
    if not file.is_file():
        if key is not None:
            wanted = f"a signature{' with a timestamp' * bool(authorities)} by key {key.id[:_SHOWN]}..."
            notes.made("files", SIGNATURE, [Mismatch(SIGNATURE, wanted, "none")])
        return
    try:
        signed = unseal(file.read_bytes())
    except ValueError as error:
        notes.made("files", SIGNATURE, [Mismatch(SIGNATURE, "what `audit --sign` writes", f"one that is {error}")])
        return
    found = [*_differences(signed.payload, build_statement(manifest, report))]
    by = f"key {signed.key_id[:_SHOWN]}..."
    if key is not None:
        notes.made("files", f"{SIGNATURE} by {by}", [*_forged(signed, key), *found])
        _check_time(notes, signed, authorities)
        return
    notes.made("files", f"hashes in {SIGNATURE}", found)
    # A bundle that is signed is no less checked than one that is not.
    notes.remarks.append(f"{SIGNATURE}: the signature by {by} was not checked; give its public key with --key")
    notes.trusted.append(f"that the owner of key {signed.key_id} made it: the signature was not checked (--key)")


def _check_time(notes: Notes, signed: Signature, authorities: Authorities | None) -> None:
    """Checks that the signature existed when its timestamp says."""
    stamp = f"the timestamp of {SIGNATURE}"
    if authorities is None:
        if signed.timestamp is not None:
            notes.remarks.append(f"{stamp} was not checked; give its authority's root certificate with --timestamp-ca")
        return
    if signed.timestamp is None:
        notes.made("files", stamp, [Mismatch(SIGNATURE, "a timestamp", "none")])
    elif objection := authorities.objection(signed.timestamp, signed.signature):
        wrong = Mismatch(SIGNATURE, "a timestamp of its signature by that authority", f"another: {objection}")
        notes.made("files", stamp, [wrong])
    else:
        time = stated_time(signed.timestamp)
        notes.made("files", f"{SIGNATURE} existed at {time:%Y-%m-%d %H:%M:%S} UTC", [])


def _forged(signed: Signature, key: PublicKey) -> Iterator[Mismatch]:
    if signed.key_id != key.id:
        yield Mismatch(SIGNATURE, f"a signature by key {key.id[:_SHOWN]}...", f"one by {signed.key_id[:_SHOWN]}...")
    elif not key.verifies(signed.signature, signed.message):
        yield Mismatch(SIGNATURE, f"the signature of its content by key {key.id[:_SHOWN]}...", "another")


def _differences(signed: bytes, rebuilt: bytes) -> Iterator[Mismatch]:
    """Yields where what was signed is not what robustkit would sign now, for the files as they are."""
    if signed == rebuilt:
        return
    try:
        then, now = _fields(json.loads(signed)), _fields(json.loads(rebuilt))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        yield Mismatch(SIGNATURE, "an in-toto statement", "something else")
        return
    names = [name for name in {**now, **then} if now.get(name) != then.get(name)]
    for name in names:
        expected, got = (str(fields.get(name, "none"))[:_SHOWN] for fields in (now, then))
        yield Mismatch(f"{SIGNATURE}: {name}", expected, got)
    if not names:
        yield Mismatch(SIGNATURE, "a statement as robustkit writes it", "the same in another form")


def _fields(statement: dict[str, Any]) -> dict[str, Any]:
    """Returns the subjects of a statement by name, and everything else that it says."""
    subjects = {f"subject {one['name']!r}": one["digest"]["sha256"] for one in statement["subject"]}
    said = {f"predicate.{name}": value for name, value in statement["predicate"].items()}
    return {**subjects, **said, **{name: statement[name] for name in ("_type", "predicateType")}}
