"""Timestamps of signatures: asked for by HTTP from an authority on this machine, checked by its root certificate."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess

import pytest
from bundles import ATTACKS, write
from signers import signer
from time_authority import make_authority, running

import robustkit
from robustkit.base.errors import ConfigurationError
from robustkit.bundle.signing import build_statement, seal
from robustkit.bundle.timestamp import check_timestamp, read_authorities, request_timestamp, stated_time
from robustkit.report import load
from robustkit.report.document.manifest import from_text

pytest.importorskip("rfc3161_client")
pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return make_authority(tmp_path_factory.mktemp("authority") / "a")


@pytest.fixture(scope="module")
def stamped(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stamped") / "b"
    with running(authority) as url:
        write(folder, ATTACKS[1:2], sign=signer(), timestamp=url)
    return folder


def copied(stamped, tmp_path, change):
    """Returns a copy of a bundle whose signature file was changed as a tree."""
    shutil.copytree(stamped, tmp_path / "b")
    file = tmp_path / "b" / "signature.json"
    tree = json.loads(file.read_bytes())
    change(tree)
    file.write_text(json.dumps(tree, indent=2) + "\n")
    return tmp_path / "b"


def false(folder, authority):
    found = robustkit.verify(folder, key=signer().public, timestamp_ca=authority / "ca.pem").false
    return "\n".join(map(str, found))


def material(tree):
    return tree["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]


def test_a_timestamp_of_its_authority_holds_and_says_when(stamped, authority):
    result = robustkit.verify(stamped, key=signer().public, timestamp_ca=str(authority / "ca.pem"))
    assert result.holds
    (what,) = [check.what for check in result.checks if "existed at" in check.what]
    response = base64.b64decode(material(json.loads((stamped / "signature.json").read_bytes()))[0]["signedTimestamp"])
    assert what == f"signature.json existed at {stated_time(response):%Y-%m-%d %H:%M:%S} UTC"


def test_the_timestamp_is_one_for_openssl_too(stamped, authority, tmp_path):
    tree = json.loads((stamped / "signature.json").read_bytes())
    (tmp_path / "answer").write_bytes(base64.b64decode(material(tree)[0]["signedTimestamp"]))
    (tmp_path / "sig").write_bytes(base64.b64decode(tree["dsseEnvelope"]["signatures"][0]["sig"]))
    check = f"openssl ts -verify -in answer -data sig -CAfile {authority / 'ca.pem'}"
    assert b"OK" in subprocess.run(check.split(), cwd=tmp_path, check=True, capture_output=True).stdout


def test_without_its_certificate_a_timestamp_is_named_and_the_key_still_checked(stamped):
    result = robustkit.verify(stamped, key=signer().public)
    assert result.holds
    assert any("timestamp of signature.json was not checked" in remark for remark in result.remarks)


def test_another_authority_is_false(stamped, tmp_path):
    other = make_authority(tmp_path / "other")
    assert "expected a timestamp of its signature by that authority, got another" in false(stamped, other)


def test_a_timestamp_of_another_signature_is_false(stamped, authority, tmp_path):
    with running(authority) as url:
        other = base64.b64encode(request_timestamp(url, b"something else")).decode()
    folder = copied(stamped, tmp_path, lambda tree: material(tree)[0].update(signedTimestamp=other))
    assert "got another: VerificationError: Mismatch between messages" in false(folder, authority)


def test_a_changed_time_is_false(stamped, authority, tmp_path):
    def change(tree):
        answer = base64.b64decode(material(tree)[0]["signedTimestamp"])
        year = str(stated_time(answer).year).encode()
        material(tree)[0].update(signedTimestamp=base64.b64encode(answer.replace(year, b"2020", 1)).decode())

    assert "got another" in false(copied(stamped, tmp_path, change), authority)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree["verificationMaterial"].pop("timestampVerificationData"), "expected a timestamp, got none"),
        (lambda tree: material(tree)[0].update(signedTimestamp="AAAA"), "got another"),
        (lambda tree: material(tree).append(material(tree)[0]), "not a Sigstore bundle"),
        (lambda tree: material(tree).clear(), "not in the form"),
        (lambda tree: material(tree)[0].update(more=1), "not in the form"),
        (lambda tree: tree["verificationMaterial"].update(timestampVerificationData=1), "not a Sigstore bundle"),
    ],
    ids=["removed", "junk", "two", "none", "another field", "no tree"],
)
def test_forgeries_are_named(stamped, authority, tmp_path, change, said):
    assert said in false(copied(stamped, tmp_path, change), authority)


def test_an_unsigned_bundle_has_no_timestamp(authority, tmp_path):
    write(tmp_path / "b", ATTACKS[1:2])
    assert "expected a signature with a timestamp by key" in false(tmp_path / "b", authority)


def test_an_authority_without_a_key_to_check_is_refused(stamped, authority):
    with pytest.raises(ConfigurationError, match="expected a key beside timestamp_ca"):
        robustkit.verify(stamped, timestamp_ca=authority / "ca.pem")


@pytest.mark.parametrize("content", [b"", b"junk", None], ids=["empty", "junk", "missing"])
def test_what_is_no_certificate_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(ConfigurationError, match="timestamp_ca: expected a PEM file with the root certificate"):
        read_authorities(tmp_path / "ca.pem")


@pytest.mark.parametrize("url", ["", "ftp://x", "file:///etc/passwd", "timestamp.example", 3])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigurationError, match="timestamp: expected the http or https address"):
        check_timestamp(url, signer())


def test_a_timestamp_needs_a_signature(tmp_path):
    with pytest.raises(ConfigurationError, match="timestamp: expected a key"):
        write(tmp_path / "b", ATTACKS[1:2], timestamp="http://127.0.0.1:9/")
    assert [*tmp_path.iterdir()] == []


def test_an_authority_that_does_not_answer_leaves_nothing(tmp_path):
    with pytest.raises(ConfigurationError, match="expected an answer of a time-stamping authority at http://127"):
        write(tmp_path / "b", ATTACKS[1:2], sign=signer(), timestamp="http://127.0.0.1:9/")
    assert [*tmp_path.iterdir()] == []


def test_an_answer_to_something_else_is_refused(authority):
    with running(authority) as url:
        old = request_timestamp(url, b"a")
    for answer in (old, b"junk", b""):
        refused = pytest.raises(ConfigurationError, match="expected an answer of a time-stamping authority")
        with running(authority, lambda _, answer=answer: answer) as url, refused:
            request_timestamp(url, b"a")


def test_the_signature_file_is_read_back_as_it_was_written(stamped):
    statement = build_statement(from_text((stamped / "manifest.json").read_text()), load(stamped / "report.json"))
    plain = json.loads(seal(statement, signer()))
    written = json.loads((stamped / "signature.json").read_bytes())
    assert written["dsseEnvelope"] == plain["dsseEnvelope"]
