"""The signature of a bundle: an in-toto statement about its hashes, in a DSSE envelope, in a Sigstore bundle.

The forms are those of Sigstore's model_signing, so that other tools read the file. It signs the hash of the manifest,
which has the hash of every other file, and therefore stands beside the manifest and in no list.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from robustkit.bundle.keys import PrivateKey
from robustkit.bundle.timestamp import request_timestamp
from robustkit.report.document.manifest import NAME, PAGES, Manifest, file_endings, to_text
from robustkit.report.document.report import Report

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://robustkit/audit/v1.0"  # as model_signing writes https://model_signing/signature/v1.0
PAYLOAD = "application/vnd.in-toto+json"
_MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"


@dataclass(frozen=True)
class Signature:
    """What a signature file holds: who says they signed what, and the signature to prove it."""

    payload: bytes
    key_id: str
    signature: bytes
    timestamp: bytes | None = None  # of the signature, in DER, as an authority answered

    @property
    def message(self) -> bytes:
        """The bytes that are signed."""
        return encoded(self.payload)


def build_statement(manifest: Manifest, report: Report) -> bytes:
    """Returns what is signed: hashes of the files, of weights and data of every audit, and how they were measured.

    Weights and data have the hashes that the report states: `weights` over the tensors, `weights_file` over the file.
    """
    hashes = {NAME: hashlib.sha256(to_text(manifest).encode()).hexdigest(), PAGES[0]: manifest.files.get(PAGES[0])}
    for part, ending in zip(manifest.audits, file_endings([part.name for part in manifest.audits]), strict=True):
        hashes[f"weights{ending}"] = part.weights_sha256
        hashes[f"weights_file{ending}"] = part.weights_file_sha256
        hashes[f"data{ending}"] = part.data_sha256
    methods = [
        {"name": a.subject.name, "protocol": a.method.protocol, "fingerprint": a.method.fingerprint}
        for a in report.audits
    ]
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in hashes.items() if digest],
        "predicateType": PREDICATE,
        "predicate": {
            "id": report.id,
            "created": report.created,
            "tool": report.tool,
            "seed": report.seed,
            "result_sha256": report.result_sha256,
            "audits": methods,
        },
    }
    return json.dumps(statement).encode()


def encoded(payload: bytes) -> bytes:
    """Returns the bytes to sign for a payload, the pre-authentication encoding (PAE) of DSSE v1."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)


def seal(payload: bytes, key: PrivateKey) -> bytes:
    """Returns the signature file of a statement, with the answer of the time-stamping authority of its key."""
    signature = key.sign(encoded(payload))
    time = request_timestamp(key.timestamp, signature) if key.timestamp else None
    return _to_text(Signature(payload, key.public.id, signature, time))


def unseal(content: bytes) -> Signature:
    """Returns what a signature file holds; nothing was checked yet but its form.

    Raises:
        ValueError: If it is not byte by byte what `seal` writes: what is outside the signature could say anything.
    """
    try:
        tree = json.loads(content)
        envelope = tree["dsseEnvelope"]
        (signed,) = envelope["signatures"]
        payload, signature = (base64.b64decode(text, validate=True) for text in (envelope["payload"], signed["sig"]))
        stamps = tree["verificationMaterial"].get("timestampVerificationData", {"rfc3161Timestamps": []})
        times = [base64.b64decode(one["signedTimestamp"], validate=True) for one in stamps["rfc3161Timestamps"]]
        found = Signature(payload, str(signed["keyid"]), signature, *times)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError("not a Sigstore bundle with a DSSE envelope") from None
    if not re.fullmatch("[0-9a-f]{64}", found.key_id) or _to_text(found) != content:
        raise ValueError("not in the form in which robustkit writes it")
    return found


def _to_text(signed: Signature) -> bytes:
    payload, signature = (base64.b64encode(part).decode() for part in (signed.payload, signed.signature))
    material: dict[str, Any] = {"publicKey": {"hint": signed.key_id}}
    if signed.timestamp is not None:
        stamp = {"signedTimestamp": base64.b64encode(signed.timestamp).decode()}
        material["timestampVerificationData"] = {"rfc3161Timestamps": [stamp]}
    tree: dict[str, Any] = {
        "mediaType": _MEDIA,
        "verificationMaterial": material,
        "dsseEnvelope": {
            "payload": payload,
            "payloadType": PAYLOAD,
            "signatures": [{"sig": signature, "keyid": signed.key_id}],
        },
    }
    return (json.dumps(tree, indent=2) + "\n").encode()
