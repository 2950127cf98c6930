"""The check of a report against its ledger; forgeries of whole bundles are in test_verification.py."""

from __future__ import annotations

import pytest
from bundles import EPS, Forger, quick, write
from nets import digits, digits_cnn

import robustkit
from robustkit.attacks import FGSM
from robustkit.bundle.check_report import read_ledger, read_report
from robustkit.bundle.mismatch import Mismatch
from robustkit.evaluation.ledger import Ledger

NAMES = ["=SUM(A1)", "'=x", "+1", "-2", "@a", "\tb", "plain", 'quote",\n']


def ledger(names: list[str]) -> Ledger:
    table = Ledger(["a"])
    table.write(table.extend(len(names), names), id=range(len(names)), clean_confidence=0.5, clean_nll=-0.5)
    return table


@pytest.fixture
def read(tmp_path):
    def text(content: str) -> Ledger | Mismatch:
        (tmp_path / "ledger.csv").write_bytes(content.encode())
        return read_ledger(tmp_path, "ledger.csv")

    return text


def test_a_ledger_is_read_as_it_was_written(read):
    found = read(ledger(NAMES).to_csv())
    assert isinstance(found, Ledger)
    assert found.names == NAMES


def test_a_ledger_of_before_names_were_escaped_is_read_as_it_was_written(read):
    names = [name for name in NAMES if name != "'=x"]
    text = ledger(names).to_csv()
    for name in names:
        text = text.replace(f"'{name}", name)
    assert "\n=SUM(A1)," in text
    found = read(text)
    assert isinstance(found, Ledger)
    assert found.names == names


@pytest.mark.parametrize(("before", "after"), [(",0.5,", ",0.50,"), ("-0.5", "-5e-1"), (",0.5,", ", 0.5,")])
def test_numbers_that_are_written_otherwise_are_named(read, before, after):
    text = ledger(["x"]).to_csv()
    assert before in text
    assert read(text.replace(before, after)) == Mismatch("ledger.csv", "numbers as robustkit writes them", "others")


def test_what_is_no_ledger_and_no_report_is_a_mismatch(read, tmp_path):
    for content in ("", "a,b\n", '"'):
        found = read(content)
        assert isinstance(found, Mismatch)
        assert (found.where, found.expected) == ("ledger.csv", "a ledger")
    for content in (None, b"{}", b"\xff"):
        if content is not None:
            (tmp_path / "report.json").write_bytes(content)
        found = read_report(tmp_path)
        assert isinstance(found, Mismatch)
        assert (found.where, found.expected) == ("report.json", "a report")


def test_a_bundle_with_names_like_formulas_holds_escaped_and_as_it_was_written_before(tmp_path, monkeypatch):
    quick(monkeypatch)
    x, y = digits(8)
    names = ["=SUM(A1)", "+1", "-2", "@a", "=b", "plain", "c,d", "'e"]
    data = [(*pair, name) for pair, name in zip(zip(x, y.tolist(), strict=True), names, strict=True)]
    data = [(image, label, name) for image, label, name in data]
    write(tmp_path / "b", [FGSM(eps=EPS)], data=data)
    result = robustkit.verify(tmp_path / "b", digits_cnn(), data)
    assert result.holds, result.false
    file = tmp_path / "b/ledger.csv"
    text = file.read_text()
    assert "\n'=SUM(A1)," in text
    for name in names[:5]:
        text = text.replace(f"'{name}", name)
    file.write_text(text)
    Forger(tmp_path / "b").finish()
    result = robustkit.verify(tmp_path / "b", digits_cnn(), data)
    assert result.holds, result.false
    file.write_text(text.replace("=b,", "=c,"))
    Forger(tmp_path / "b").finish()
    false = "\n".join(map(str, robustkit.verify(tmp_path / "b", digits_cnn(), data).false))
    assert "ledger.csv: name of sample =c: expected =b, got =c" in false
