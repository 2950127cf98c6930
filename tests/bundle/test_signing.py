"""The signature file: a statement about the hashes of a bundle, in forms that other tools read."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import zipfile
from dataclasses import replace

import pytest
from bundles import ATTACKS, write
from signers import sign, signer, statement, write_private, write_public

import robustkit
from robustkit.base.errors import ConfigurationError
from robustkit.bundle import save
from robustkit.bundle.signing import build_statement, encoded, seal, unseal
from robustkit.report import load
from robustkit.report.document.manifest import build_manifest


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_statement_is_about_files_weights_and_data(folder):
    said, report = json.loads(statement(folder)), load(folder / "report.json")
    audit = report.audits[0]
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert {one["name"]: one["digest"] for one in said["subject"]} == {
        "manifest.json": {"sha256": sha256(folder / "manifest.json")},
        "report.json": {"sha256": sha256(folder / "report.json")},
        "weights": {"sha256": audit.subject.weights_sha256},
        "data": {"sha256": audit.data.sha256},
    }
    assert said["predicate"] == {
        "id": report.id,
        "created": report.created,
        "tool": report.tool,
        "seed": 0,
        "result_sha256": report.result_sha256,
        "audits": [{"name": "mine", "protocol": "custom", "fingerprint": audit.method.fingerprint}],
    }


def test_the_subjects_of_several_audits_are_told_apart(folder):
    report = load(folder / "report.json")
    (audit,) = report.audits
    both = [
        replace(audit, subject=replace(audit.subject, name=name, weights_file_sha256=None)) for name in ("a 1", "b")
    ]
    report = replace(report, audits=tuple(both))
    said = json.loads(build_statement(build_manifest(report, [{}, {}], [False, False]), report))
    names = [one["name"] for one in said["subject"]]
    assert names == ["manifest.json", "weights-a", "data-a", "weights-b", "data-b"]
    assert [one["name"] for one in said["predicate"]["audits"]] == ["a 1", "b"]


def test_the_encoding_is_that_of_the_dsse_specification():
    assert encoded(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
    assert encoded("\N{SNOWMAN}".encode()) == b"DSSEv1 28 application/vnd.in-toto+json 3 \xe2\x98\x83"


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
def test_openssl_agrees(folder, tmp_path):
    sign(folder, signer())
    envelope = json.loads((folder / "signature.json").read_bytes())["dsseEnvelope"]
    (tmp_path / "said").write_bytes(encoded(base64.b64decode(envelope["payload"])))
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    write_public(tmp_path / "pub.pem", signer().public.key)
    check = "openssl pkeyutl -verify -pubin -inkey pub.pem -rawin -in said -sigfile sig"
    subprocess.run(check.split(), cwd=tmp_path, check=True, capture_output=True)


def test_a_signature_file_is_read_back_only_as_it_was_written():
    content = seal(b"said", signer())
    found = unseal(content)
    assert (found.payload, found.key_id) == (b"said", signer().public.id)
    tree = json.loads(content)
    more = {**tree, "verificationMaterial": {"publicKey": {"hint": "f" * 64}}}
    twice = json.loads(content)
    twice["dsseEnvelope"]["signatures"] *= 2
    other = json.loads(content)
    other["dsseEnvelope"]["payloadType"] = "text/plain"
    for changed in ({**tree, "note": "read me"}, more, twice, other):
        with pytest.raises(ValueError, match=r"^not "):
            unseal((json.dumps(changed, indent=2) + "\n").encode())
    for junk in (content + b" ", content[:-9], b"", b"null", b"[" * 100_000, b"\xff", b'{"dsseEnvelope": 1}'):
        with pytest.raises(ValueError, match=r"^not "):
            unseal(junk)


def test_a_signed_bundle_takes_its_place_whole_and_leaves_it_whole(tmp_path):
    key, pub = (
        write_private(tmp_path / "key.pem", signer().key),
        write_public(tmp_path / "pub.pem", signer().public.key),
    )
    write(tmp_path / "b", ATTACKS[1:2], archive=True, sign=key)
    for bundle in ("b", "b.zip"):
        assert robustkit.verify(tmp_path / bundle, key=pub).holds
    assert "signature.json" in zipfile.ZipFile(tmp_path / "b.zip").namelist()
    write(tmp_path / "b", ATTACKS[1:2])
    assert not (tmp_path / "b" / "signature.json").exists()
    assert robustkit.verify(tmp_path / "b").holds


def test_where_signing_fails_nothing_is_left(tmp_path, monkeypatch):
    def fail(*_):
        raise ConfigurationError("sign: no")

    monkeypatch.setattr(save, "seal", fail)
    with pytest.raises(ConfigurationError, match="sign: no"):
        write(tmp_path / "b", ATTACKS[1:2], sign=signer())
    assert [*tmp_path.iterdir()] == []


def test_no_other_file_takes_its_name(tmp_path):
    evaluation = write(tmp_path / "b", ATTACKS[1:2])
    report = load(tmp_path / "b" / "report.json")
    with pytest.raises(ConfigurationError, match="expected other files than"):
        robustkit.save_bundle(report, evaluation, tmp_path / "c", files={"signature.json": b""})
