"""Tables that come back as they were, whose text no spreadsheet runs, written as the csv module would."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import robustkit
from robustkit.base.csv_table import csv_line, read_csv, write_csv

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NASTY = st.text("=+-@\t\r\n'\",;\0\ue000 a0", max_size=6)
CELLS = st.one_of(TEXT, NASTY)
FORMULAS = ["=SUM(A1)", "+1", "-2+3", "@x", "\tx", "\rx", "'=x", "''@"]


@given(st.lists(CELLS, max_size=4), st.lists(st.lists(CELLS, max_size=4), max_size=4))
def test_a_table_of_any_text_is_read_as_it_was_written(header, rows):
    assert read_csv(write_csv(header, rows)) == [header, *rows]


@given(st.lists(st.lists(st.one_of(st.floats(), st.integers(), st.none()), min_size=1), max_size=3))
def test_numbers_are_read_as_they_print_and_nothing_is_empty(rows):
    expected = [["" if cell is None else str(cell) for cell in row] for row in rows]
    assert read_csv(write_csv(["n"], rows)) == [["n"], *expected]


@given(st.lists(st.lists(st.one_of(NASTY, st.floats(), st.none()), max_size=4), max_size=4))
def test_no_text_of_a_cell_is_a_formula(rows):
    shown = csv.reader(io.StringIO(write_csv(["x"], rows).replace("\0", "0"), newline=""))
    for row, cells in zip([["x"], *rows], shown, strict=True):
        for cell, text in zip(row, cells, strict=True):
            assert not isinstance(cell, str) or not text.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_one_apostrophe_in_header_and_rows(text):
    plain = next(csv.reader(io.StringIO(csv_line([text]), newline="")))
    assert plain == [f"'{text}"]
    assert read_csv(write_csv([text], [[text]])) == [[text], [text]]


def test_numbers_are_never_escaped():
    assert write_csv(["a"], [[-0.5], [-3], [float("-inf")]]) == "a\n-0.5\n-3\n-inf\n"


def test_apostrophes_that_hide_no_formula_stay():
    assert write_csv(["'a"], [["''"], ["it's"], ["'5"]]) == "'a\n''\nit's\n'5\n"


def test_a_formula_that_was_never_escaped_is_read_as_it_stands():
    assert read_csv("name\n=x\n-5\n") == [["name"], ["=x"], ["-5"]]


@given(st.lists(st.lists(st.text('a;5 ",\n', min_size=1).map("x".__add__), min_size=1, max_size=3), max_size=3))
def test_the_bytes_are_those_of_the_csv_module(rows):
    expected = io.StringIO()
    csv.writer(expected, lineterminator="\n").writerows([["a", ""], [""], *rows])
    assert write_csv(["a", ""], [[""], *rows]) == expected.getvalue()


@pytest.mark.parametrize("text", ['a,"b', '"a"b,c\n'])
def test_what_is_no_csv_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        read_csv(text)


def test_no_other_module_writes_or_reads_csv_by_itself():
    package = Path(robustkit.__file__).parent
    users = {p.name for p in package.rglob("*.py") if re.search(r"^\s*(import|from) csv\b", p.read_text(), re.M)}
    assert users == {"csv_table.py"}
