"""Sums that do not depend on the order of what is added."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.maths.exact_sums import ExactSums

NUMBER = st.floats(-1e6, 1e6)
ROWS = st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=20)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_what_is_added_changes_no_bit(rows, random):
    one, other = ExactSums(2), ExactSums(2)
    for row in rows:
        one.add(row)
    random.shuffle(rows)
    for row in rows:
        other.add(row)
    assert one.totals == other.totals
    assert one.values().tolist() == other.values().tolist()


@given(ROWS, st.integers(0, 20))
def test_parts_put_together_are_the_whole(rows, cut):
    whole, one, other = ExactSums(2), ExactSums(2), ExactSums(2)
    for place, row in enumerate(rows):
        whole.add(row)
        (one if place < cut else other).add(row)
    one.update(ExactSums(other.totals))
    assert one.totals == whole.totals


@given(st.lists(st.integers(-(2**40), 2**40).map(lambda k: k / 2**20), max_size=20))
def test_numbers_on_the_grid_are_added_without_error(numbers):
    sums = ExactSums(1)
    for number in numbers:
        sums.add([number])
    assert Fraction(sums.totals[0], 2**96) == sum(map(Fraction, numbers))


def test_what_float64_loses_is_kept():
    sums = ExactSums(1)
    for number in (1e9, 1e-9, -1e9):
        sums.add(np.array([number]))
    assert sums.values()[0] == pytest.approx(1e-9, rel=1e-15)
    assert 1e9 + 1e-9 - 1e9 == 0


def test_sums_begin_at_zero_and_another_number_of_places_is_an_error():
    assert ExactSums(3).values().tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="zip"):
        ExactSums(3).add([1.0, 2.0])


def test_totals_given_are_not_changed_by_adding():
    totals = [1, 2]
    ExactSums(totals).add([1.0, 1.0])
    assert totals == [1, 2]
