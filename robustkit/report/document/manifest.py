"""The manifest: what is in a bundle, with a hash for every file, and how to load what was audited."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import Scalar
from robustkit.report.document.report import Audit, Report

NAME = "manifest.json"
SIGNATURE = "signature.json"  # over the hash of the manifest, which therefore cannot list it
SCHEMA = "robustkit.bundle/1.0"
PAGES = ("report.json", "report.html", "report.md")


@dataclass(frozen=True)
class Part:
    """The files of one audit, and hashes of what it was about.

    `load` says how model and data were named on the command line; empty where they came from Python.
    """

    name: str
    ledger: str
    adversarials: str | None
    load: dict[str, Scalar]
    weights_sha256: str | None
    weights_file_sha256: str | None
    data_sha256: str
    ids_sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds. `files` gives the SHA-256 of every other file but the signature; its own is the last."""

    schema: str
    tool: str
    command: str | None
    seed: int
    versions: dict[str, Scalar]
    audits: tuple[Part, ...]
    files: dict[str, str]


_MANIFEST = TypeAdapter(Manifest)


def to_text(manifest: Manifest) -> str:
    """Returns the manifest as JSON, the same text for the same content, its own hash at the end."""
    tree = _MANIFEST.dump_python(manifest, mode="json")
    own = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
    return json.dumps({**tree, "sha256": own}, indent=2, ensure_ascii=False) + "\n"


def from_text(text: str) -> Manifest:
    """Returns the manifest in `text`.

    Raises:
        ConfigurationError: If it is none, or not letter by letter what `to_text` writes.
    """
    try:
        manifest = _MANIFEST.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the top"
        raise ConfigurationError(f"expected a manifest of a bundle, got a fault at {where}: {first['msg']}") from None
    if manifest.schema.rpartition(".")[0] != SCHEMA.rpartition(".")[0]:
        raise ConfigurationError(
            f"expected a manifest of schema {SCHEMA.rpartition('.')[0]}.x, got {manifest.schema!r}; "
            "read it with the version of robustkit that wrote it"
        )
    if to_text(manifest) != text:
        raise ConfigurationError("expected a manifest that agrees with its own hash, got one that was changed")
    return manifest


def build_manifest(report: Report, loads: Sequence[Mapping[str, Scalar]], evidence: Sequence[bool]) -> Manifest:
    """Returns the manifest of a report, its files still without their hashes.

    Args:
        report: The report.
        loads: How model and data of each audit are named, see `Part.load`.
        evidence: For each audit, whether its adversarial points are there.
    """
    endings = file_endings([audit.subject.name for audit in report.audits])
    parts = [
        _part(audit, ending, load, kept)
        for audit, ending, load, kept in zip(report.audits, endings, loads, evidence, strict=True)
    ]
    return Manifest(
        schema=SCHEMA,
        tool=report.tool,
        command=report.command,
        seed=report.seed,
        versions=report.environment,
        audits=tuple(parts),
        files={},
    )


def _part(audit: Audit, ending: str, load: Mapping[str, Scalar], kept: bool) -> Part:
    return Part(
        name=audit.subject.name,
        ledger=f"ledger{ending}.csv",
        adversarials=f"adversarials{ending}.safetensors" if kept else None,
        load=dict(load),
        weights_sha256=audit.subject.weights_sha256,
        weights_file_sha256=audit.subject.weights_file_sha256,
        data_sha256=audit.data.sha256,
        ids_sha256=audit.data.ids_sha256,
    )


def file_endings(names: Sequence[str]) -> list[str]:
    """Returns what tells the files of several audits apart: "-" and the first word, or else the number, of each."""
    words = [re.split(r"[^a-z0-9]", name.lower())[0] for name in names]
    if len(names) == 1:
        return [""]
    distinct = len(set(words)) == len(words) and all(words)
    return [f"-{word}" for word in words] if distinct else [f"-{number}" for number in range(1, len(names) + 1)]


def with_files(manifest: Manifest, files: Mapping[str, str]) -> Manifest:
    """Returns the manifest with the hashes of its files, sorted by name."""
    return dataclasses.replace(manifest, files=dict(sorted(files.items())))
