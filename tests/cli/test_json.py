"""`--json`: one document on standard output, which agrees with what the command writes and says."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from bundles import quick, write
from complaints import complaint

from robustkit.cli import COMMANDS, Commands, cli, run
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.terminal import out

MODEL = "mlp --data digits --limit 12"
AUDIT = f"audit {MODEL} --eps 0.05 --attack fgsm --probes 0 --quiet"
Document = dict[str, Any]


def stored(name: str | Path) -> Document:
    found: Document = json.loads(Path(name).read_text())
    return found


def says_what_is_in(file: str) -> Callable[[Document], bool]:
    return lambda found: {**found, **stored(file)} == found


def is_the_report_that_was_written(found: Document) -> bool:
    assert "--json" not in found["report"]["command"]
    return bool(found["report"] == stored(Path(found["folder"]) / "report.json"))


def has_checks_and_what_is_on_trust(found: Document) -> bool:
    first = found["checks"][0]
    assert (first["level"], first["status"], "hashes" in first["what"]) == ("files", "holds", True)
    assert {check["note"] for check in found["checks"] if check["status"] == "not checked"} == {"no model", "no data"}
    return bool(found["holds"] and found["false"] == [] and found["trusted"])


def has_every_requirement(found: Document) -> bool:
    (audit,) = found["audits"]
    strict, easy = audit["gates"]
    assert Path("g.xml").exists()
    assert found["files"] == ["g.xml"]
    assert (strict["rule"], strict["status"], easy["status"]) == ("robust_accuracy >= 0.99", "not met", "met")
    return bool(audit["verdict"]["requirement"] == "not met" and strict["bound"] < 0.99)


def names_the_files(found: Document) -> bool:
    return "pages/report.sarif" in found["files"] and all(Path(file).exists() for file in found["files"])


def has_diagnostics(found: Document) -> bool:
    (first, *_) = found["diagnostics"]
    return [*first] == ["id", "title", "value", "limit", "status", "message"] and first["id"] == "Q01"


def explains_pgd(found: Document) -> bool:
    (pgd,) = found["attacks"]
    settings = {setting["name"]: setting for setting in pgd["settings"]}
    assert settings["restarts"]["default"] == 1
    assert settings["step_size"]["default"] is None
    return "Madry" in pgd["source"] and all(setting["description"] for setting in pgd["settings"])


def has_sizes(found: Document) -> bool:
    (row,), (decision,) = found["interval"], found["requirements"]
    assert row["samples"] == 10 * row["wilson"]
    assert len(found["difference"]) == 3
    return (decision["samples"], decision["decision"]) == (None, "undecided")


CASES: dict[str, tuple[str, int, Callable[[Document], Any]]] = {
    "audit": (f"{AUDIT} --out a", 0, is_the_report_that_was_written),
    "verify": ("verify bundle", 4, has_checks_and_what_is_on_trust),
    "gate": ("gate bundle --require robust_accuracy>=0.99 --require ece<=1 --junit g.xml", 1, has_every_requirement),
    "report": ("report bundle -f csv -f sarif --out pages", 0, names_the_files),
    "compare": ("compare bundle bundle --out both", 0, says_what_is_in("both/compare.json")),
    "history": ("history bundle --out h", 0, lambda found: found["groups"][0]["entries"][0]["folder"] == "bundle"),
    "doctor": (f"doctor {MODEL}", 0, has_diagnostics),
    "attacks": ("attacks", 0, lambda found: "apgd" in [attack["name"] for attack in found["attacks"]]),
    "attacks pgd": ("attacks pgd", 0, explains_pgd),
    "plan": (
        "plan --half-width 2% --per-class 10 --require robust_accuracy>=0.45 --expect 45% --difference 2%",
        0,
        has_sizes,
    ),
    "selftest": ("selftest --attack fgsm --eps 0.1 --quiet", 0, lambda found: found["failed"] == []),
    "corrupt": (
        f"corrupt {MODEL} --corruption contrast --severity 1 --quiet --out c",
        0,
        says_what_is_in("c/shift.json"),
    ),
    "certify": (
        f"certify {MODEL} --n 10 --n0 5 --radii 0,9 --quiet",
        0,
        lambda found: [row["accuracy"] and row["accuracy"]["n"] for row in found["certified"]] == [12, None],
    ),
    "calibrate": (
        f"calibrate {MODEL}",
        0,
        lambda found: found["settings"] == stored("calibrated.json")["settings"] and found["after"]["n"] == 6,
    ),
    "train": (
        "train mlp --data digits --limit 60 --objective standard --epochs 1 --quiet --out run",
        0,
        lambda found: (
            found["epochs"][0]["number"] == 1 and found["files"] == ["run/weights.safetensors", "run/training.html"]
        ),
    ),
    "ensemble": (
        "ensemble mlp cnn --data digits --limit 12 --attack fgsm --eps 0.1 --quiet",
        0,
        lambda found: found["accuracy"][0][2]["n"] == 12 and found["files"] == ["ensemble.json", "ensemble.html"],
    ),
    "clean-data": ("clean-data --data digits --limit 60 --report r", 0, says_what_is_in("r/cleaning.json")),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        write(folder := tmp_path_factory.mktemp("bundle") / "bundle")
        yield folder


@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_one_document_that_agrees_with_what_is_written(name, in_folder, bundle, capsys):
    words, code, agrees = CASES[name]
    shutil.copytree(bundle, "bundle")
    assert run([*words.split(), "--json"]) == code
    assert agrees(json.loads(capsys.readouterr().out))


def test_shards_are_merged_and_their_audit_runs_again(in_folder, capsys):
    def answered(words: str, code: int) -> Document:
        assert run(words.split()) == code
        found: Document = json.loads(capsys.readouterr().out)
        return found

    shards = [answered(f"{AUDIT} --batch-size 4 --json --shard {i}/2 --out s{i}", 0) for i in (1, 2)]
    assert [shard["shard"] for shard in shards] == ["1/2", "2/2"]
    assert sum(shard["samples"] for shard in shards) == 12
    assert is_the_report_that_was_written(answered("merge s1 s2 --out m --json", 0))
    again = answered("rerun m --yes --out n --json", 0)
    assert again["same"]
    assert again["folder"] == "n"
    assert is_the_report_that_was_written(again)


@pytest.mark.slow
def test_the_demo_answers_with_both_audits(in_folder, capsys):
    assert run(["demo", "--quiet", "--json", "--probes", "0"]) in (0, None)
    found = json.loads(capsys.readouterr().out)
    assert is_the_report_that_was_written(found)
    assert len(found["report"]["audits"]) == 2


@click.command("try", cls=Command)
def attempt() -> None:
    sys.stdout.write("a model that talks\n")
    say("a figure")
    out().print("a table")
    answer(nothing=float("nan"), text='"\x1b[2J\u202e\udcff', most=(0.1, float("inf"), True, None))
    answer({"more": Path("x")})


def test_what_else_is_printed_goes_to_standard_error_or_nowhere(capsys):
    attempt.main(["--json"], standalone_mode=False)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        "nothing": None,
        "text": '"\x1b[2J\u202e\udcff',
        "most": [0.1, None, True, None],
        "more": "x",
    }
    assert printed.out.isascii()
    assert printed.out.replace("\n", " ").isprintable()
    assert printed.err == "a model that talks\n"
    attempt.main([], standalone_mode=False)
    assert capsys.readouterr().out == "a model that talks\na figure\na table\n"


@pytest.mark.parametrize("words", ["gate nowhere", "attacks pgdd", "report nowhere --markdown -", f"{AUDIT} --eps x"])
def test_an_error_is_still_one_line_and_no_document(words, in_folder, capsys):
    assert run([*words.split(), "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1


def test_standard_output_is_not_promised_twice(in_folder, bundle, capsys):
    for words in ("gate {} --markdown -", "report {} --markdown -", "report {} -f sarif --out -"):
        assert "name a file" in complaint(capsys, [*words.format(bundle).split(), "--json"])


def test_a_rerun_shows_the_command_before_it_asks(in_folder, bundle, capsys, monkeypatch):
    run([*AUDIT.split(), "--out", "first", "--json"])
    capsys.readouterr()
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda *_: "n")
    assert run(["rerun", "first", "--json"]) == 130
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "  robustkit audit mlp" in printed.err


def test_every_command_has_the_option():
    context = click.Context(cli)
    for name in COMMANDS:
        command = Commands.get_command(cli, context, name)
        assert command is not None
        assert any("--json" in param.opts for param in command.params), name
