"""The list a verification is collected in."""

from __future__ import annotations

from robustkit.bundle.failure_messages import Mismatch
from robustkit.bundle.verification_result import Notes

FALSE, EDGE = Mismatch("a", "b", "c"), Mismatch("d", "e", "f", edge=True)


def test_a_check_holds_if_all_it_found_is_at_the_edge():
    notes = Notes()
    notes.made("model", "deep", [EDGE])
    notes.made("files", "shallow", [EDGE, FALSE])
    notes.left_out("geometry", "points", "no data", "the points")
    notes.left_out("geometry", "more points", "no data", "the points")
    notes.left_out("summaries", "pages", "other versions")
    result = notes.closed("b")
    assert [(c.level, c.status, c.note) for c in result.checks] == [
        ("files", "false", ""),
        ("summaries", "not checked", "other versions"),
        ("geometry", "not checked", "no data"),
        ("geometry", "not checked", "no data"),
        ("model", "holds", ""),
    ]
    assert (result.bundle, result.false, result.trusted) == ("b", (FALSE,), ("the points",))
    assert not result.holds
    assert [check.what for check in result.unchecked] == ["pages", "points", "more points"]


def test_nothing_false_holds():
    notes = Notes()
    notes.made("files", "all", [EDGE])
    assert notes.closed("b").holds
