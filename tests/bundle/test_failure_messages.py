"""What is false, in words: two trees compared, and many findings of one kind told once."""

from __future__ import annotations

import math

import pytest

from robustkit.bundle.failure_messages import Findings, Mismatch, compare, same_number, text


@pytest.mark.parametrize(
    ("expected", "got", "said"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ["at.a[1].b: expected 2, got 3"]),
        ({"a": 1}, {"b": 1}, ["at: expected 1 entries, got 1 entries"]),
        ([1, 2], [1], ["at: expected 2 entries, got 1 entries"]),
        (1, 1.0, ["at: expected 1, got 1"]),
        (1, True, ["at: expected 1, got True"]),
        (None, 0, ["at: expected None, got 0"]),
        (0.1, 0.2, ["at: expected 0.1, got 0.2"]),
        (0.1 + 0.2, 0.3, []),
        (math.nan, math.nan, []),
        ({"a": "x", "b": "y"}, {"a": "z", "b": "w"}, ["at.a: expected x, got z", "at.b: expected y, got w"]),
    ],
)
def test_every_place_where_two_trees_differ_is_named(expected, got, said):
    assert [str(mismatch) for mismatch in compare(expected, got, "at")] == said


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [(1.0, 1 + 5e-10, True), (1.0, 1 + 2e-9, False), (0.0, 5e-13, True), (0.0, 2e-12, False), (math.nan, 0.0, False),
     (math.inf, math.inf, True)],
)  # fmt: skip
def test_numbers_agree_up_to_the_order_of_a_sum(a, b, same):
    assert same_number(a, b) is same_number(b, a) is same


def test_findings_about_one_thing_are_told_once_and_counted():
    found = Findings()
    for sample in "xyz":
        found.add("pgd/margin", sample, 1.0, 2.0)
    found.add("pgd/margin", "w", 1.0, 1.1, edge=True)
    found.add("label", "x", 3, 4)
    assert [(str(m), m.edge) for m in found] == [
        ("pgd/margin of sample x: expected 1, got 2 (and 2 more)", False),
        ("pgd/margin of sample w: expected 1, got 1.1", True),
        ("label of sample x: expected 3, got 4", False),
    ]
    assert Mismatch("a", "b", "c") == Mismatch("a", "b", "c", 0, False)


def test_values_are_short():
    assert text(1 / 3) == "0.333333"
    assert text("x" * 80) == "x" * 80
    assert text("x" * 81) == "x" * 77 + "..."
