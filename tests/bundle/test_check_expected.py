"""A bundle is about the weights and data that were expected, or the claim is false."""

from __future__ import annotations

import dataclasses

import pytest
from bundles import X, Y
from nets import digits_cnn

import robustkit
from robustkit.base.errors import ConfigurationError
from robustkit.bundle.check_expected import check_expected, one_each
from robustkit.bundle.verification_result import Notes
from robustkit.report import load

OTHER = "0" * 64


@pytest.fixture
def report(original):
    return load(original / "report.json")


def test_the_hashes_that_the_report_states_are_compared(original, report):
    weights, data = report.audits[0].subject.weights_sha256, report.audits[0].data.sha256
    assert robustkit.verify(original, expect_weights=weights, expect_data=data.upper()).holds
    found = robustkit.verify(original, expect_weights=[OTHER], expect_data=[OTHER]).false
    assert [str(one) for one in found] == [
        f"report.json: audits[0].subject.weights_sha256: expected 000000000000..., got {weights[:12]}...",
        f"report.json: audits[0].data.sha256: expected 000000000000..., got {data[:12]}...",
    ]


@pytest.mark.parametrize("value", ["", "abc", "0" * 63, "0" * 65, "g" * 64, "0" * 64 + "\n", 5, [None]])
def test_what_is_no_whole_hash_is_refused(original, value):
    for setting in ("expect_weights", "expect_data"):
        with pytest.raises(ConfigurationError, match=f"^verify: expected .*{setting}.* got"):
            robustkit.verify(original, **{setting: value})


def test_one_hash_is_for_all_audits_or_there_is_one_for_each():
    assert one_each("expect_data", (), 3) == ()
    assert one_each("expect_data", ("a",), 3) == ("a", "a", "a")
    assert one_each("expect_data", ("a", "b"), 2) == ("a", "b")
    with pytest.raises(ConfigurationError, match="once, or for each of 3 audits, got 2 times"):
        one_each("expect_data", ("a", "b"), 3)


def test_the_hash_of_a_weight_file_needs_the_file(report, tmp_path):
    """The report could state the hash of a good file beside the tensors of a bad model."""
    file = tmp_path / "weights.bin"
    file.write_bytes(b"abc")
    hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (audit,) = report.audits
    audit = dataclasses.replace(audit, subject=dataclasses.replace(audit.subject, weights_file_sha256=hash))
    report = dataclasses.replace(report, audits=(audit,))

    def status(*here):
        notes = Notes()
        check_expected(notes, report, (hash,), (), here)
        result = notes.closed("b")
        assert result.holds
        return [check.note for check in result.unchecked]

    assert status(file) == []
    assert status(None) == ["the expected weight file is not here: give it as --weights, or expect weights_sha256"]
    file.write_bytes(b"other")
    assert "is another one than 'weights.bin'" in status(file)[0]


def test_with_model_and_data_at_hand_the_expected_hashes_are_theirs(original, report):
    weights, data = report.audits[0].subject.weights_sha256, report.audits[0].data.sha256
    assert robustkit.verify(original, digits_cnn(), (X, Y), expect_weights=weights, expect_data=data).holds
