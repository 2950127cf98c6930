"""Numbers and names as every view writes them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.report.text import words


class TestWords:
    @pytest.mark.parametrize(
        ("fraction", "text"),
        [(0, "0.0"), (1, "100.0"), (0.9999, ">99.9"), (0.0001, "<0.1"), (0.31249, "31.2"), (0.9994, "99.9")],
    )
    def test_only_none_is_zero_and_only_all_is_a_hundred_percent(self, fraction, text):
        assert words.percent(fraction) == f"{text}\N{NO-BREAK SPACE}%"
        assert words.percent(None) == "\N{EN DASH}"

    def test_a_moment_is_read_by_people_and_what_is_none_is_kept(self):
        for created in ("2026-01-02T03:04:05.678+00:00", "2026-01-02T03:04Z"):
            assert words.moment(created) == "2026-01-02 03:04 UTC"
        assert words.moment("2026-01-02T03:04:05+01:00") == "2026-01-02T03:04:05+01:00"

    @given(st.text(), st.integers(1, 40))
    def test_a_shortened_name_is_one_printable_line_of_about_the_width(self, name, width):
        short = words.shorten(name, width)
        assert len(short) <= width + 1
        assert short == words.shorten(short, width + 2)
        assert not re.search("[\x00-\x1f\u202a-\u202e]", short)
