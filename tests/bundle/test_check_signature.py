"""With a key, only what its owner signed holds; without one, a signature is named and taken on trust."""

from __future__ import annotations

import json
import re

import pytest
from bundles import Forger
from signers import sign, signer, statement

import robustkit

FILE = "signature.json"


def false(folder, key):
    return "\n".join(map(str, robustkit.verify(folder, key=key).false))


def rows(result):
    return {check.what: check.status for check in result.checks if check.level == "files"}


def test_what_the_owner_of_the_key_signed_holds(folder):
    key = sign(folder, signer())
    result = robustkit.verify(folder, key=key)
    assert result.holds
    assert rows(result)[f"signature.json by key {key.id[:12]}..."] == "holds"
    assert not any(key.id in claim for claim in result.trusted)


def test_without_a_key_a_signature_is_named_and_taken_on_trust(folder):
    key = sign(folder, signer())
    result = robustkit.verify(folder)
    assert result.holds
    said = f"{FILE}: the signature by key {key.id[:12]}... was not checked; give its public key with --key"
    assert said in result.remarks
    assert rows(result)[f"hashes in {FILE}"] == "holds"
    assert f"that the owner of key {key.id} made it: the signature was not checked (--key)" in result.trusted


def test_a_bundle_without_signature_holds_unless_a_key_is_given(folder):
    assert robustkit.verify(folder).holds
    assert false(folder, signer().public) == f"{FILE}: expected a signature by key 3d4c030534b1..., got none"


def forged_report(folder):
    forger = Forger(folder)
    forger.audit(lambda audit: audit["subject"].update(weights_sha256="0" * 64))
    forger.finish()


def edited(change, number=1):
    """Returns a forgery that signs an edited statement, by the key of that number."""

    def forge(folder):
        tree = json.loads(statement(folder))
        change(tree)
        sign(folder, signer(number), json.dumps(tree).encode())

    return forge


def relabelled(folder):
    text = sign(folder, signer(2)) and (folder / FILE).read_text()
    (folder / FILE).write_text(text.replace(signer(2).public.id, signer().public.id))


def swapped(folder):
    mine = json.loads((folder / FILE).read_text())
    edited(lambda tree: tree["predicate"].update(seed=1))(folder)
    other = json.loads((folder / FILE).read_text())
    mine["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]
    (folder / FILE).write_text(json.dumps(mine, indent=2) + "\n")


FORGERIES = {
    "another key": (lambda folder: sign(folder, signer(2)), "expected a signature by key 3d4c030534b1..., got one by"),
    "another key under its name": (relabelled, "expected the signature of its content by key 3d4c030534b1"),
    "another statement under the signature": (swapped, "expected the signature of its content by key"),
    "another report": (forged_report, "signature.json: subject 'manifest.json': expected"),
    "another report, weights": (forged_report, "signature.json: subject 'weights': expected 000000000000, got"),
    "other data": (edited(lambda t: t["subject"][-1]["digest"].update(sha256="0" * 64)), "subject 'data': expected"),
    "a subject too few": (edited(lambda t: t["subject"].pop()), "subject 'data': expected [0-9a-f]{12}, got none"),
    "a subject too many": (
        edited(lambda t: t["subject"].append({"name": "more", "digest": {"sha256": "1" * 64}})),
        "subject 'more': expected none, got 111111111111",
    ),
    "another date": (edited(lambda t: t["predicate"].update(created="1999-01-01")), "predicate.created: expected 20"),
    "another predicate": (edited(lambda t: t.update(predicateType="x")), "predicateType: expected https://robu"),
    "another field": (edited(lambda t: t.update(more=1)), "expected a statement as robustkit writes it"),
    "no statement": (lambda folder: sign(folder, signer(), b"[1]"), "expected an in-toto statement, got something"),
    "no envelope": (lambda folder: (folder / FILE).write_text("{}"), "got one that is not a Sigstore bundle"),
    "another file": (lambda folder: (folder / "more.json").write_text("{}"), "more.json: expected no such file"),
    "a huge file": (lambda folder: (folder / FILE).write_bytes(bytes(1 << 21)), "expected at most 1,048,576 bytes"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgeries_are_named(folder, forgery):
    sign(folder, signer())
    forge, said = FORGERIES[forgery]
    forge(folder)
    assert re.search(said, false(folder, signer().public))
