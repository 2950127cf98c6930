"""The report as JSON: written in one canonical way, read back with every field checked."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.foreign_file import content, parsing
from robustkit.base.settings import every, instance
from robustkit.base.settings import path as known_path
from robustkit.base.write_file import write_atomically
from robustkit.report.document.report import SCHEMA, Audit, Report

_REPORT = TypeAdapter(Report)
_AUDITS = TypeAdapter(tuple[Audit, ...])
# In the hash where known, so that it keeps for older reports.
_LATER = ("alone", "remaining", "success_of_attacked")
_PER_COORDINATE = ("eps_per_coordinate", "bounds_per_coordinate", "schema", "layout")
_LINE = 110  # what fits on one line of the file stays on one line


def to_json(report: Report) -> str:
    """Returns the report as JSON, fields in their order, ending with a newline; equal reports, equal text.

    Raises:
        InvalidEvaluation: a number is not finite, which JSON cannot hold.
    """
    instance("report", "the report", report, Report)
    tree = _REPORT.dump_python(report, mode="json", warnings="error")
    for path, number in _not_finite(tree, ""):
        raise InvalidEvaluation(
            f"report: expected finite numbers, got {number} at {path}; store None where a value is unknown"
        )
    return _layout(tree, "") + "\n"


def from_json(text: str, name: str = "report") -> Report:
    """Returns the report that `text` holds; fields it does not know are passed over.

    Args:
        text: JSON of the same major schema version.
        name: What to call the text in an error, the file's name say.

    Raises:
        ConfigurationError: no JSON, another major version, a field is missing or of the wrong type.
    """
    instance(name, "the text", text, str)
    with parsing(name, "JSON", "write it again"):
        tree = json.loads(text, parse_constant=_refuse_constant)
    found = tree.get("schema") if isinstance(tree, dict) else None
    if not isinstance(found, str) or _major(found) != _major(SCHEMA):
        raise ConfigurationError(
            f"{name}: expected a report of schema {_major(SCHEMA)}.x, got {_short(found)} at schema; "
            "read it with the version of robustkit that wrote it"
        )
    try:
        return _REPORT.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        missing = first["type"] == "missing"
        path, value = _locate(tree, first["loc"], missing)
        got = "nothing" if missing else _short(value)
        raise ConfigurationError(
            f"{name}: expected a report, but {first['msg'].lower()} at {path}, got {got}; write it again"
        ) from None


def save(report: Report, path: str | os.PathLike[str]) -> Path:
    """Writes the report as JSON, whole or not at all, and returns the path.

    Raises:
        ConfigurationError: the file cannot be written.
        InvalidEvaluation: a number is not finite.
    """
    return write_atomically(known_path("report", "the file", path), to_json(report))


def load(path: str | os.PathLike[str]) -> Report:
    """Returns the report in a JSON file.

    Raises:
        ConfigurationError: the file cannot be read or is no such report.
    """
    with parsing("report", "a readable JSON file", "check the path", f"'{path}'"):
        text = content(known_path("report", "the file", path)).decode()
    return from_json(text, str(path))


class _WithDocstrings(GenerateJsonSchema):
    """Describes a dataclass by its docstring, which pydantic does by itself only from 2.13 on."""

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        described = super().dataclass_schema(schema)
        return {"description": inspect.getdoc(schema["cls"]), **described}


def schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of what `to_json` writes; schema.json holds the same."""
    body = _REPORT.json_schema(mode="serialization", schema_generator=_WithDocstrings)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body, "title": SCHEMA}


def result_sha256(audits: Sequence[Audit]) -> str:
    """Returns the SHA-256 over what was found: the canonical JSON of `audits` without timings, device and saliency.

    Canonical: keys sorted, no spaces, ASCII, numbers as Python's `repr` writes them.
    """
    every("report", "audits", audits, Audit)
    tree = _AUDITS.dump_python(tuple(audits), mode="json", warnings="error")
    for audit in tree:
        del audit["subject"]["device"], audit["method"]["probe_seconds"]
        _drop_unknown(audit["threat"], _PER_COORDINATE)
        _drop_unknown(audit["data"], ["whole"])
        _drop_unknown(audit, ("table",))
        for attack in audit["attacks"]:
            del attack["seconds"]
            _drop_unknown(attack, _LATER)
        for shown in audit["gallery"]:  # pictures of gradients, which differ in the last bits between machines
            del shown["saliency"], shown["saliency_adversarial"]
        if not audit["changed_rows"]:
            del audit["changed_rows"]
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _drop_unknown(tree: dict[str, Any], names: Sequence[str]) -> None:
    for name in [name for name in names if tree[name] is None]:
        del tree[name]


def _layout(tree: Any, indent: str) -> str:
    """JSON with two spaces of indent in which short objects, and lists of plain values, stay on one line."""
    line = json.dumps(tree, ensure_ascii=False)
    nested = isinstance(tree, (dict, list)) and any(
        isinstance(item, (dict, list)) for item in (tree.values() if isinstance(tree, dict) else tree)
    )
    if not isinstance(tree, (dict, list)) or len(indent + line) <= _LINE or (isinstance(tree, list) and not nested):
        return line
    deeper = indent + "  "
    if isinstance(tree, list):
        items, ends = [_layout(item, deeper) for item in tree], "[]"
    else:
        items = [f"{json.dumps(key, ensure_ascii=False)}: {_layout(item, deeper)}" for key, item in tree.items()]
        ends = "{}"
    return f"{ends[0]}\n{deeper}" + f",\n{deeper}".join(items) + f"\n{indent}{ends[1]}"


def _not_finite(tree: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(tree, float) and not math.isfinite(tree):
        yield path, tree
    elif isinstance(tree, dict):
        for key, item in tree.items():
            yield from _not_finite(item, f"{path}.{key}".lstrip("."))
    elif isinstance(tree, list):
        for index, item in enumerate(tree):
            yield from _not_finite(item, f"{path}[{index}]")


def _locate(tree: Any, location: Sequence[str | int], missing: bool) -> tuple[str, Any]:
    """The path in the document that a validator's location means, and what stands there."""
    path = ""
    for step in location:
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            if not missing:
                break  # the name of a union's branch, which is no part of the document
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.lstrip(".") or "the top", tree


def _major(schema_name: str) -> str:
    match = re.fullmatch(r"(robustkit\.report/\d+)\.\d+", schema_name)
    return match[1] if match else ""


def _short(value: Any) -> str:
    text = "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")
