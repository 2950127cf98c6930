"""Keys in files: ed25519 is read, everything else is refused in one line that says how to make one."""

from __future__ import annotations

import hashlib
import os
import sys

import pytest
from signers import signer, write_private, write_public

from robustkit.base.errors import ConfigurationError
from robustkit.bundle.keys import PASSWORD, read_private_key, read_public_key

ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")


@pytest.fixture(autouse=True)
def no_password(monkeypatch):
    monkeypatch.delenv(PASSWORD, raising=False)


def test_both_halves_of_a_key_are_read_and_the_public_one_knows_the_signature(tmp_path):
    key = signer()
    private = read_private_key(write_private(tmp_path / "key.pem", key.key))
    public = read_public_key(write_public(tmp_path / "pub.pem", key.public.key))
    assert public.verifies(private.sign(b"said"), b"said")
    assert not public.verifies(private.sign(b"said"), b"other")
    assert not signer(2).public.verifies(private.sign(b"said"), b"said")


def test_the_id_of_a_key_is_the_hash_of_its_public_file(tmp_path):
    file = write_public(tmp_path / "pub.pem", signer().public.key)
    assert read_public_key(file).id == signer().public.id == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_password_is_taken_from_the_environment_or_asked_for_only_where_there_is_one(tmp_path, monkeypatch):
    def never() -> str:
        raise AssertionError

    plain = write_private(tmp_path / "plain.pem", signer().key)
    locked = write_private(tmp_path / "locked.pem", signer().key, b"secret")
    assert read_private_key(plain, never).public.id == signer().public.id
    assert read_private_key(locked, lambda: "secret").public.id == signer().public.id
    with pytest.raises(ConfigurationError, match=f"which is encrypted, got none; set {PASSWORD}"):
        read_private_key(locked)
    monkeypatch.setenv(PASSWORD, "secret")
    assert read_private_key(locked, never).public.id == signer().public.id
    for wrong in ("other", ""):
        monkeypatch.setenv(PASSWORD, wrong)
        with pytest.raises(ConfigurationError, match=r"expected the password of .*locked\.pem', got another"):
            read_private_key(locked, never)


def test_other_kinds_of_keys_and_files_are_refused_in_one_line(tmp_path):
    other = ec.generate_private_key(ec.SECP256R1())
    files = {
        "EC key": (write_private(tmp_path / "ec.pem", other), write_public(tmp_path / "ecpub.pem", other.public_key())),
        "no such file": (tmp_path / "none.pem", tmp_path / "none.pem"),
        "no regular file": (tmp_path, tmp_path),
    }
    (tmp_path / "text.pem").write_text("-----BEGIN PRIVATE" + " KEY-----\nnothing\n")
    files["something else"] = (tmp_path / "text.pem", write_private(tmp_path / "key.pem", signer().key))
    for got, (private, public) in files.items():
        with pytest.raises(ConfigurationError, match=rf"^sign: .*ed25519 private key, got '.*' \({got}\); openssl"):
            read_private_key(private)
        got = "a private key" if got == "something else" else got
        with pytest.raises(ConfigurationError, match=rf"^key: .*ed25519 public key, got '.*' \({got}\); openssl pkey"):
            read_public_key(public)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="no regular file"):
        read_public_key(tmp_path / "pipe")


def test_without_the_package_the_message_says_what_to_install(tmp_path, monkeypatch):
    file = write_private(tmp_path / "key.pem", signer().key)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.serialization", None)
    with pytest.raises(ConfigurationError, match=r"^sign: expected cryptography to be installed; pip install crypto"):
        read_private_key(file)
