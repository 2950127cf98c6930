"""`audit --sign`, `merge --sign`, and `verify` with a key and with the hashes that are expected."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from nets import write_digits
from signers import signer, write_private, write_public
from time_authority import make_authority, running

from robustkit.bundle.keys import PASSWORD
from robustkit.cli import run
from robustkit.cli.shared.shards import _sha256

AUDIT = ["audit", "cnn", "--weights", "cnn.safetensors", "--data", "digits.npz", "--classes", "10", "--eps", "0.1",
         "--probes", "0", "--attack", "fgsm", "--quiet"]  # fmt: skip
HERE = ["--weights", "cnn.safetensors", "--data", "digits.npz"]


pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A folder with a network, 20 digits, a key, and the signed bundle of an audit."""
    folder = tmp_path_factory.mktemp("signed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_digits(folder, 20)
        write_private(folder / "key.pem", signer().key)
        write_public(folder / "pub.pem", signer().public.key)
        write_public(folder / "other.pem", signer(2).public.key)
        assert run([*AUDIT, "--out", "b", "--sign", "key.pem"]) == 0
    return folder


@pytest.fixture
def case(signed, monkeypatch):
    """That folder, to run commands in that change nothing."""
    monkeypatch.chdir(signed)
    monkeypatch.delenv(PASSWORD, raising=False)
    return signed


def said(capsys, *words: str, code: int) -> str:
    capsys.readouterr()
    assert run([*words]) == code
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def verify(capsys, *words: str, code: int = 0) -> str:
    return said(capsys, "verify", "b", *HERE, *words, code=code)


def test_a_signed_bundle_holds_for_its_key_and_no_other(case, capsys):
    id = signer().public.id
    assert f"signature.json by key {id[:12]}... holds" in verify(capsys, "--key", "pub.pem")
    text = verify(capsys, "--key", "other.pem", code=1)
    assert f"false: signature.json: expected a signature by key {signer(2).public.id[:12]}..., got one by" in text
    text = verify(capsys)
    assert f"remark: signature.json: the signature by key {id[:12]}... was not checked; give its public" in text
    assert f"- that the owner of key {id} made it" in text


def test_the_time_of_a_signature_is_confirmed_by_an_authority(case, tmp_path, capsys):
    pytest.importorskip("rfc3161_client")
    ca = ["--timestamp-ca", str(make_authority(tmp_path / "a") / "ca.pem")]
    out, sign = ["--out", str(tmp_path / "b")], ["--sign", "key.pem"]
    with running(tmp_path / "a") as url:
        said(capsys, *AUDIT, *out, *sign, "--timestamp", url, code=0)
    check = ["verify", str(tmp_path / "b"), *HERE]
    assert re.search(r"signature.json existed at 20\d\d-", said(capsys, *check, "--key", "pub.pem", *ca, code=0))
    assert "expected a key beside timestamp_ca" in said(capsys, *check, *ca, code=2)
    wrong = said(capsys, *check, "--key", "pub.pem", "--timestamp-ca", "key.pem", code=2)
    assert "timestamp_ca: expected a PEM file with the root certificate" in wrong
    assert "expected a key" in said(capsys, *AUDIT, *out, "--timestamp", url, code=2)
    assert "expected an answer of a time-stamping" in said(capsys, *AUDIT, *out, *sign, "--timestamp", url, code=2)
    assert "existed at" in said(capsys, *check, "--key", "pub.pem", *ca, code=0)  # the earlier bundle is still there
    with running(tmp_path / "a") as url:
        said(capsys, *AUDIT, *out, *sign, "--timestamp", url, "--resume", code=0)


def test_the_report_does_not_say_where_the_key_lies(case):
    assert not any("key.pem" in file.read_text() for file in (case / "b").glob("*.json"))


def test_expected_hashes_are_those_of_the_report_or_a_claim_is_false(case, capsys):
    audit = json.loads(Path("b/report.json").read_text())["audits"][0]
    weights, file = audit["subject"]["weights_sha256"], audit["subject"]["weights_file_sha256"]
    text = verify(capsys, "--expect-weights", weights, "--expect-data", audit["data"]["sha256"])
    assert "hash of the expected weights holds hash of the expected data holds" in text
    assert "the expected weight file holds" in verify(capsys, "--expect-weights", file)
    assert "2 claims are false" in verify(capsys, "--expect-weights", "0" * 64, "--expect-data", "0" * 64, code=1)
    text = verify(capsys, "--expect-weights", weights[:63], code=2)
    assert "--expect-weights: expected a SHA-256, 64 hexadecimal digits, got '" in text
    assert "expected expect_data once, got 2 times" in verify(capsys, *["--expect-data", "0" * 64] * 2, code=2)


def test_a_wrong_key_ends_an_audit_before_any_attack(case, capsys, monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr("robustkit.cli.audit.run.run", never)
    write_private(case / "locked.pem", signer().key, b"secret")
    there = {*case.iterdir()}
    for key, why in {"pub.pem": "something else", "none.pem": "no such file", "locked.pem": f"set {PASSWORD}"}.items():
        text = said(capsys, *AUDIT, "--out", "c", "--sign", key, code=2)
        assert text.startswith("robustkit: sign: expected")
        assert why in text
    assert "give it to robustkit merge" in said(capsys, *AUDIT, "--shard", "1/2", "--sign", "key.pem", code=2)
    assert {*case.iterdir()} == there


def test_what_is_merged_is_signed_by_who_merges_and_not_by_what_a_shard_says(case, capsys):
    for part in ("1/2", "2/2"):
        assert run([*AUDIT, "--batch-size", "4", "--shard", part, "--out", f"s{part[0]}"]) == 0
    assert run(["merge", "s1", "s2", "--out", "m", "--sign", "key.pem"]) == 0
    assert "signature.json by key" in said(capsys, "verify", "m", *HERE, "--key", "pub.pem", code=0)
    for shard in ("s1", "s2"):
        note = json.loads(Path(shard, "shard.json").read_text())
        note = {"shard": note["shard"], "arguments": [*note["arguments"], "--sign=key.pem"]}
        Path(shard, "shard.json").write_text(json.dumps({**note, "sha256": _sha256(note)}))
    assert "merge: expected shards that name no key" in said(capsys, "merge", "s1", "s2", "--out", "n", code=2)


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
def test_keys_of_openssl_do(tmp_path):
    from robustkit.bundle.keys import read_private_key, read_public_key

    for command in (
        "openssl genpkey -algorithm ed25519 -aes256 -pass pass:secret -out key.pem",
        "openssl pkey -in key.pem -passin pass:secret -pubout -out pub.pem",
    ):
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    private = read_private_key(tmp_path / "key.pem", lambda: "secret")
    assert private.public.id == read_public_key(tmp_path / "pub.pem").id
