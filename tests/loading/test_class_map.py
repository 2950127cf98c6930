"""Class maps from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustkit.base.errors import ConfigurationError
from robustkit.loading.class_map import read_class_map


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.csv", "cat,3\n\ndog, Hund\n", {"cat": "3", "dog": "Hund"}),
        ("a.csv", '\ufeffclass,output\r\n"tench, Tinca tinca",0\r\n', {"class": "output", "tench, Tinca tinca": "0"}),
        ("a.json", '{"cat": 3, "dog": "Hund"}', {"cat": 3, "dog": "Hund"}),
    ],
)
def test_a_class_map_is_read(tmp_path: Path, name: str, text: str, found: dict[str, str | int]) -> None:
    (tmp_path / name).write_text(text)
    assert read_class_map(str(tmp_path / name)) == found


def test_a_class_map_may_be_the_text_itself_or_a_reading() -> None:
    assert read_class_map('{"cat": 3}') == {"cat": 3}
    assert read_class_map("text-order") == "text-order"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", None, "expected a .csv or .json file, or one of position, from-1, text-order"),
        ("a.csv", "cat,1\ncat,2\n", "one output for 'cat', got two"),
        ("a.csv", "cat;1\n", r"expected a class and an output .*got \['cat;1'\]"),
        ("a.csv", "cat,\n", r"expected a class and an output .*got \['cat', ''\]"),
        ("a.json", '{"cat": 1, "cat": 2}', "one output for 'cat', got two"),
        ("a.json", '{"cat": true}', "expected a class and an output"),
        ("a.json", '{"cat": 1.5}', "expected a class and an output"),
        ("a.json", '["cat", "dog"]', "expected a class and an output"),
        ("a.json", "3", "expected a class and an output"),
        ("a.json", "{", "expected a .csv or .json file"),
        ("a.csv", '"cat', "expected a .csv or .json file"),
        ("a.csv", b"\xff\xfe,1", "expected a .csv or .json file"),
    ],
)
def test_what_is_no_class_map_is_refused(tmp_path: Path, name: str, text: str | bytes | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_class_map(str(tmp_path / name))
    assert "\n" not in str(caught.value)
