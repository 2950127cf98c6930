"""The check of a report against its ledger; forgeries of whole bundles are in test_verification.py."""

from __future__ import annotations

import pytest
from bundles import EPS, Forger, lies, quick, write
from nets import digits, digits_cnn

import robustkit
from robustkit.attacks import FGSM
from robustkit.bundle.check_report import read_ledger, read_report
from robustkit.bundle.failure_messages import Mismatch
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


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda a: a["clean"].update(wilson=[0.99, 1.0]), "audits[0].clean.wilson[0]"),
        (lambda a: a["per_class"][3]["robust"].update(k=0), "audits[0].per_class[3].robust.k"),
        (lambda a: a["attacks"][1]["attack_success"].update(k=0), "audits[0].attacks[1].attack_success.k"),
        (
            lambda a: a["calibration"]["attacked"]["ece"].update(value=0.01),
            "audits[0].calibration.attacked.ece.value",
        ),
        (lambda a: a["calibration"]["clean"]["ece"].update(high=0.9), "audits[0].calibration.clean.ece.high"),
        (lambda a: a["verdict"].update(quality="reliable"), "audits[0].verdict.quality"),
        (lambda a: a["verdict"].update(coverage=[]), "audits[0].verdict.coverage"),
        (lambda a: a["verdict"].update(requirement="met"), "audits[0].verdict.requirement"),
        (lambda a: a["threat"].update(eps="8/255"), "audits[0].threat.eps"),
        (lambda a: a["diagnostics"][15].update(status="not run"), "audits[0].diagnostics[15]"),
        (lambda a: a["method"].update(fingerprint="0" * 12), "audits[0].method.fingerprint"),
        (lambda a: a["method"].update(protocol="autoattack"), "audits[0].method.fingerprint"),
        (lambda a: a["data"].update(n=1000), "audits[0].data.n"),
        (
            lambda a: a["gallery"][0].update(adversarial_confidence=0.99),
            "audits[0].gallery[0].adversarial_confidence",
        ),
        (lambda a: a["attacks"][0].update(name="apgd-t"), "ledger.csv: attacks"),
        (lambda a: a["worst_case"]["broken_by"].update({"fgsm": 0}), "audits[0].worst_case.broken_by.fgsm"),
    ],
)
def test_any_figure_that_follows_from_the_ledger(folder, change, named):
    forger = Forger(folder)
    forger.audit(change)
    forger.finish()
    assert named in lies(folder, model=False, data=None)


def test_a_page_and_a_picture(folder):
    picture = next(p for p in sorted(folder.glob("png/*-clean.png")))
    other = picture.with_name(picture.name.replace("clean", "adversarial"))
    (folder / "report.html").write_text("<p>98 %")
    picture.write_bytes(other.read_bytes())
    Forger(folder).finish(pages_too=False)
    text = lies(folder, model=False, data=None)
    assert "report.html: expected what report.json gives, got another" in text
    assert f"png/{picture.name}: expected the picture in report.json, got another" in text


def test_pages_of_other_versions_are_not_checked_and_told(folder, monkeypatch):
    monkeypatch.setattr("robustkit.bundle.check_report.same_versions", lambda *_: False)
    (folder / "report.html").write_text("<p>drawn otherwise")
    result = robustkit.verify(folder)
    assert [m.where for m in result.false] == ["report.html"]  # its hash, and nothing else
    assert ("not checked", "written by another version") in [(c.status, c.note) for c in result.checks]


def test_pages_that_are_drawn_the_same_hold_whatever_the_versions(folder, monkeypatch):
    monkeypatch.setattr("robustkit.bundle.check_report.same_versions", lambda *_: False)
    made = [(c.what, c.status) for c in robustkit.verify(folder).checks if "report.html" in c.what]
    assert made == [("report.html and report.md from report.json", "holds")]
