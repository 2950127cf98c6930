"""Settings come back from JSON as what they were: reports are hashed, so `false` must not become 0."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from robustkit.base.settings import Scalar

SETTINGS = TypeAdapter(dict[str, Scalar])


@pytest.mark.parametrize("value", [False, True, 0, 1, 0.0, 1.0, 0.5, "", "1", "true", None])
def test_a_setting_is_written_and_read_as_what_it_is(value: Scalar) -> None:
    text = json.dumps({"setting": value}, separators=(",", ":"))
    assert json.dumps(SETTINGS.dump_python({"setting": value}, mode="json"), separators=(",", ":")) == text
    assert SETTINGS.dump_json({"setting": value}).decode() == text
    for read in (SETTINGS.validate_json(text, strict=True), SETTINGS.validate_json(text)):
        assert json.dumps(read, separators=(",", ":")) == text
