"""Options about who made a bundle, when, and of what: --sign for those who write, --key for those who verify."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustkit.cli.shared.option_types import Typed

if TYPE_CHECKING:
    from robustkit.bundle.keys import PrivateKey, PublicKey
    from robustkit.bundle.timestamp import Authorities


def sign_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --sign and --timestamp, which `robustkit.bundle.save_bundle` takes under these names."""
    options = [
        click.option("--sign", type=click.Path(path_type=Path), metavar="KEY",
                     help="Sign the bundle with an ed25519 key, a PEM file; `robustkit verify --key` checks it."),
        click.option("--timestamp", metavar="URL",
                     help="Have the time of the signature confirmed by an RFC 3161 authority, with --sign."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def _public_key(text: str) -> PublicKey:
    from robustkit.bundle.keys import read_public_key

    return read_public_key(Path(text))


def _hash(text: str) -> str:
    from robustkit.bundle.check_expected import SHA256

    if not SHA256.fullmatch(text):
        raise ValueError(text)
    return text


def _certificates(text: str) -> Authorities:
    from robustkit.bundle.timestamp import read_authorities

    return read_authorities(Path(text))


_CERTIFICATES = Typed("CERT", "a PEM file", _certificates)
_KEY = Typed("PUBKEY", "a PEM file", _public_key)
_HASH = Typed("SHA256", "a SHA-256, 64 hexadecimal digits", _hash)


def expected_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of `robustkit.bundle.verify` about who, when and of what, under their names there."""
    once = "once, or once for each audit, as the report states it"
    options = [
        click.option("--key", type=_KEY, help="Public key, a PEM file, of whoever must have signed the bundle."),
        click.option("--timestamp-ca", type=_CERTIFICATES,
                     help="Root certificate, a PEM file, of the authority that must have confirmed when; with --key."),
        click.option("--expect-weights", type=_HASH, multiple=True,
                     help=f"Hash of the weights that must have been audited; {once}."),
        click.option("--expect-data", type=_HASH, multiple=True,
                     help=f"Hash of the data that must have been audited; {once}."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def read_signing_key(path: Path | None, timestamp: str | None) -> PrivateKey | None:
    """Returns the key in a file; its password is asked for where it has one, none is set, and somebody is there."""
    from robustkit.bundle.keys import read_private_key
    from robustkit.bundle.timestamp import check_timestamp

    check_timestamp(timestamp, path)
    if path is None:
        return None

    def ask() -> str:
        return str(click.prompt(f"Password of {path}", hide_input=True, err=True))

    return replace(read_private_key(path, ask if sys.stdin.isatty() else None), timestamp=timestamp)
