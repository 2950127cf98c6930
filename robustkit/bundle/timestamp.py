"""When a signature existed, by the clock of a time-stamping authority (RFC 3161) rather than of whoever signed."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.base.optional import package

_SECONDS = 30  # to wait for an answer
_LARGEST = 1 << 16  # bytes of an answer, and of a file of certificates


@dataclass(frozen=True)
class Authorities:
    """The root certificates of time-stamping authorities that are believed."""

    roots: tuple[Any, ...]

    def objection(self, response: bytes, message: bytes) -> str | None:
        """Returns why a timestamp does not prove that a message existed, None where it does."""
        client = package("rfc3161_client", "timestamp_ca", "rfc3161-client")
        verifier = client.VerifierBuilder(roots=[*self.roots]).build()
        try:
            verifier.verify_message(client.decode_timestamp_response(response), message)
        except Exception as error:  # whatever bytes from elsewhere make of a parser
            return one_line(error)
        return None


def read_authorities(path: Path) -> Authorities:
    """Returns the certificates in a PEM file, one or several.

    Raises:
        ConfigurationError: If it holds none.
    """
    x509 = package("cryptography.x509", "timestamp_ca")
    try:
        if not path.is_file():  # a pipe or a device would be read for ever
            raise OSError("no regular file" if path.exists() else "no such file")
        with path.open("rb") as file:
            found = x509.load_pem_x509_certificates(file.read(_LARGEST))
    except (OSError, ValueError) as error:
        got = "something else" if isinstance(error, ValueError) else error.strerror or error
        raise ConfigurationError(
            f"timestamp_ca: expected a PEM file with the root certificate of a time-stamping authority, got '{path}'"
            f" ({got}); the authority publishes it"
        ) from None
    return Authorities(tuple(found))


def check_timestamp(url: object, key: object) -> None:
    """Refuses an address that is none of an authority, and a timestamp where nothing is signed.

    Raises:
        ConfigurationError: If so, or if what talks to an authority is not installed.
    """
    if url is None:
        return
    if key is None:
        raise ConfigurationError("timestamp: expected a key, since it is the signature that gets it; add sign")
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ConfigurationError(
            f"timestamp: expected the http or https address of a time-stamping authority, got {url!r}; such as"
            " http://timestamp.digicert.com"
        )
    package("rfc3161_client", "timestamp", "rfc3161-client")


def request_timestamp(url: str, message: bytes) -> bytes:
    """Returns the answer of an authority, in DER, that a message existed; it sees the SHA-256 of the message alone.

    Raises:
        ConfigurationError: If there is no answer within 30 seconds, or another than was asked for.
    """
    client = package("rfc3161_client", "timestamp", "rfc3161-client")
    asked = client.TimestampRequestBuilder(message, client.base.HashAlgorithm.SHA256).build()
    request = Request(url, asked.as_bytes(), {"Content-Type": "application/timestamp-query"})
    try:
        with urlopen(request, timeout=_SECONDS) as reply:
            response: bytes = reply.read(_LARGEST)
        answer = client.decode_timestamp_response(response)
        if answer.status != client.tsp.PKIStatus.GRANTED:
            raise ValueError(f"refused with status {answer.status}")
        told = answer.tst_info
        if told.nonce != asked.nonce or told.message_imprint.message != asked.message_imprint.message:
            raise ValueError("a timestamp of something else")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ConfigurationError(
            f"timestamp: expected an answer of a time-stamping authority at {url}, got {one_line(error)}; try again"
            " (audit --resume), or leave timestamp out"
        ) from None
    return response


def stated_time(response: bytes) -> datetime:
    """Returns the time that a timestamp states, in UTC; nothing was checked yet.

    Raises:
        ValueError: If it is none.
    """
    client = package("rfc3161_client", "timestamp", "rfc3161-client")
    try:
        time: datetime = client.decode_timestamp_response(response).tst_info.gen_time
    except Exception:
        raise ValueError("no timestamp") from None
    return time.astimezone(timezone.utc)
