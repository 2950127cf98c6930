"""What the parsing of a stranger's file raises, whatever it is, becomes one line about the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.foreign_file import content, parsing


class Unheard(Exception):
    """Of a kind that no list of exceptions has."""


@pytest.mark.parametrize("error", [Unheard("odd\nthing"), RecursionError(), MemoryError("3 TiB"), OSError(2, "x")])
def test_whatever_is_raised_is_one_line(error):
    expected = r"^map 'a\.csv': expected a map, got .*; correct it$"
    with pytest.raises(ConfigurationError, match=expected) as caught, parsing("map 'a.csv'", "a map", "correct it"):
        raise error
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_the_name_of_the_file_stands_before_the_reason_where_nobody_said_it():
    told = pytest.raises(ConfigurationError, match=r"got 'a\.csv' \(not UTF-8 text\); check it")
    with told, parsing("map", "a map", found="'a.csv'"):
        b"\xff".decode()


def test_our_own_errors_and_ctrl_c_pass_through():
    for error in (InvalidEvaluation("as it is"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, parsing("map", "a map"):
            raise error
        assert caught.value is error


def test_neither_a_device_nor_a_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(OSError, match="a pipe or a device"):
            content(path)
    (tmp_path / "a").write_bytes(b"abc")
    assert content(tmp_path / "a") == b"abc"
