"""Options about who made a bundle and what it must be about: --sign for those who write, --key for those who verify."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustkit.cli.shared.option_types import Typed

if TYPE_CHECKING:
    from robustkit.bundle.keys import PrivateKey, PublicKey

SIGN = click.option(
    "--sign",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Sign the bundle with an ed25519 key, a PEM file; `robustkit verify --key` checks it.",
)


def _public_key(text: str) -> PublicKey:
    from robustkit.bundle.keys import read_public_key

    return read_public_key(Path(text))


_KEY = Typed("PUBKEY", "a PEM file", _public_key)


def expected_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --key, which `robustkit.bundle.verify` takes under this name."""
    about = "Public key, a PEM file, of whoever must have signed the bundle."
    command: Callable[..., Any] = click.option("--key", type=_KEY, help=about)(function)
    return command


def read_signing_key(path: Path) -> PrivateKey:
    """Returns the key in a file; its password is asked for where it has one, none is set, and somebody is there."""
    from robustkit.bundle.keys import read_private_key

    def ask() -> str:
        return str(click.prompt(f"Password of {path}", hide_input=True, err=True))

    return read_private_key(path, ask if sys.stdin.isatty() else None)
