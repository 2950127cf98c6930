"""Ed25519 keys in PEM files, as `openssl genpkey -algorithm ed25519` writes them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustkit.base.errors import ConfigurationError
from robustkit.base.optional import package

PASSWORD = "ROBUSTKIT_SIGN_PASSWORD"
_LARGEST = 1 << 16  # bytes of a key file
_MAKE = "openssl genpkey -algorithm ed25519 -out KEY makes one"
_DERIVE = "openssl pkey -in KEY -pubout -out PUBKEY writes it"


@dataclass(frozen=True)
class PublicKey:
    """What a signature is checked with."""

    key: Any

    @property
    def id(self) -> str:
        """The SHA-256 of its PEM file as openssl writes it, the hint of Sigstore's model_signing."""
        formats = _serialization("key")
        pem = self.key.public_bytes(formats.Encoding.PEM, formats.PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(pem).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Returns whether the owner of the private key signed this message."""
        invalid = package("cryptography.exceptions", "key").InvalidSignature
        try:
            self.key.verify(signature, message)
        except invalid:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """What a bundle is signed with, and the address of a time-stamping authority that confirms when, if any."""

    key: Any
    timestamp: str | None = None

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return PublicKey(self.key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Returns the signature of a message, 64 bytes."""
        signature: bytes = self.key.sign(message)
        return signature


def read_private_key(path: Path, ask: Callable[[], str] | None = None) -> PrivateKey:
    """Returns the key in a PEM file.

    Args:
        path: The file.
        ask: Asks a person for the password of an encrypted file where the environment variable
            ROBUSTKIT_SIGN_PASSWORD is not set.

    Raises:
        ConfigurationError: If it is none, of another kind, or its password is missing or wrong.
    """
    pem, load = _read("sign", path, "private", _MAKE), _serialization("sign").load_pem_private_key
    encrypted = False
    try:
        key = load(pem, None)
    except TypeError:
        encrypted = True
    except Exception:
        raise _wrong("sign", path, "private", "something else", _MAKE) from None
    if encrypted:
        try:
            key = load(pem, _password(path, ask).encode())
        except ConfigurationError:
            raise
        except Exception:
            raise ConfigurationError(
                f"sign: expected the password of '{path}', got another; correct {PASSWORD}, or unset it to be asked"
            ) from None
    if not isinstance(key, _ed25519("sign").Ed25519PrivateKey):
        raise _wrong("sign", path, "private", _kind(key), _MAKE)
    return PrivateKey(key)


def read_public_key(path: Path) -> PublicKey:
    """Returns the public key in a PEM file.

    Raises:
        ConfigurationError: If it is none, or of another kind.
    """
    pem, load = _read("key", path, "public", _DERIVE), _serialization("key").load_pem_public_key
    try:
        key = load(pem)
    except Exception:
        got = "a private key" if b"PRIVATE KEY" in pem else "something else"
        raise _wrong("key", path, "public", got, _DERIVE) from None
    if not isinstance(key, _ed25519("key").Ed25519PublicKey):
        raise _wrong("key", path, "public", _kind(key), _DERIVE)
    return PublicKey(key)


def _read(who: str, path: Path, half: str, fix: str) -> bytes:
    try:
        if path.is_file():  # a pipe or a device would be read for ever
            with path.open("rb") as file:
                return file.read(_LARGEST)
        got = "no regular file" if path.exists() else "no such file"
    except OSError as error:
        got = error.strerror or type(error).__name__
    raise _wrong(who, path, half, got, fix)


def _password(path: Path, ask: Callable[[], str] | None) -> str:
    if PASSWORD in os.environ:
        return os.environ[PASSWORD]
    if ask is None:
        raise ConfigurationError(
            f"sign: expected the password of '{path}', which is encrypted, got none; set {PASSWORD}"
        )
    return ask()


def _wrong(who: str, path: Path, half: str, got: str, fix: str) -> ConfigurationError:
    return ConfigurationError(f"{who}: expected a PEM file with an ed25519 {half} key, got '{path}' ({got}); {fix}")


def _kind(key: Any) -> str:
    return type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey").strip("_") + " key"


def _serialization(who: str) -> Any:
    return package("cryptography.hazmat.primitives.serialization", who)


def _ed25519(who: str) -> Any:
    return package("cryptography.hazmat.primitives.asymmetric.ed25519", who)
