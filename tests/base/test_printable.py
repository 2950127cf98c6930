"""What a stranger's file says cannot steer a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.text import Text

from robustkit import cli
from robustkit.base.printable import printable
from robustkit.cli.shared import terminal
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.progress import progress

STEERING = [*map(chr, range(9)), *map(chr, range(11, 32)), *map(chr, range(127, 160)), "\u202e", "\u2066", "\udcff"]


@pytest.mark.parametrize("character", STEERING, ids=ascii)
def test_what_steers_is_shown(character):
    assert printable(f"a{character}b") == f"a{ascii(character)[1:-1]}b"


def test_other_text_stays_as_it_is():
    text = "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{CJK UNIFIED IDEOGRAPH-4E00}\t5 %\n"
    assert printable(text) == text


def test_nothing_steers_through_text_or_tables(capsys):
    table = terminal.plain_table("name\x1b[2J", left=["name\x1b[2J"])
    table.add_row("x\x9b1m")
    console = terminal.out()
    terminal.print_titled(console, "all \u202echecks\x1b]0;hold\x07", table)
    console.print(Text("\x1b[32mholds"))
    out = capsys.readouterr().out
    assert not set(out) & set(STEERING)
    assert "\\x1b[32mholds" in out
    assert "\\x9b1m" in out
    assert "\\u202e" in out


def test_lines_and_progress_are_printed_by_what_makes_them_safe(monkeypatch, capsys):
    say("weights: \x1b[31m'module.' taken off")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("TERM", "xterm")
    with progress() as bar:
        bar.count("\x1b[2J[/red]holds\u202e", 1, 2)
    out, err = capsys.readouterr()
    assert out == "weights: \\x1b[31m'module.' taken off\n"
    assert "\\x1b[2J[/red]holds\\u202e" in err


PRINTERS = ("echo.py", "terminal.py", "answer.py")  # the last prints JSON in ASCII, which escapes all the rest


def test_no_command_prints_past_it():
    printing = re.compile(r"click\.echo\(|(?<![\w.])(print|Console)\(")
    commands = (path for path in Path(cli.__file__).parent.rglob("*.py") if path.name not in PRINTERS)
    assert [path.name for path in commands if printing.search(path.read_text())] == []
