"""Keys to sign bundles with, and files that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robustkit.bundle.keys import PrivateKey, PublicKey
from robustkit.bundle.signing import build_statement, seal
from robustkit.report import load
from robustkit.report.document.manifest import NAME, SIGNATURE, from_text

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def signer(number: int = 1) -> PrivateKey:
    """Returns a key, another one for every number."""
    return PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


def write_private(path: Path, key: Any, password: bytes | None = None) -> Path:
    """Writes a private key of `cryptography` as openssl does."""
    cipher = forms.BestAvailableEncryption(password) if password else forms.NoEncryption()
    path.write_bytes(key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, cipher))
    return path


def write_public(path: Path, key: Any) -> Path:
    """Writes a public key of `cryptography` as openssl does."""
    path.write_bytes(key.public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo))
    return path


def statement(folder: Path) -> bytes:
    """Returns what an honest signer of the bundle signs."""
    return build_statement(from_text((folder / NAME).read_text()), load(folder / "report.json"))


def sign(folder: Path, key: PrivateKey, payload: bytes | None = None) -> PublicKey:
    """Signs a bundle, or something else in its name, and returns the public key."""
    (folder / SIGNATURE).write_bytes(seal(payload or statement(folder), key))
    return key.public
