"""The command line as a whole: help, exit codes, old spellings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from robustkit.attacks.catalogue import ATTACKS
from robustkit.base.errors import ConfigurationError
from robustkit.base.exit_codes import ExitCode
from robustkit.cli import COMMANDS, _told, audit, cli, run
from robustkit.cli.shared import offered
from robustkit.cli.shared.old_spellings import RENAMED, current
from robustkit.cli.shared.option_types import FRACTION, NUMBERS, TIME
from robustkit.defenses.objectives.catalogue import KNOWN as OBJECTIVES
from robustkit.loading.data import READERS
from robustkit.maths.norms import COUNTED, NORMS
from robustkit.model.output import OUTPUTS
from robustkit.model.small_models import SMALL_MODELS

ROOT = Path(__file__).parents[2]


def test_the_installed_script_prints_its_version_without_importing_torch():
    script = Path(sys.executable).with_name("robustkit")
    shown = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("robustkit 0.")
    quick = "import sys, robustkit.cli; robustkit.cli.run(['--help']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", quick], check=True, capture_output=True)


def test_the_help_lists_every_exit_code(capsys):
    assert run(["--help"]) == ExitCode.OK == 0
    out = capsys.readouterr().out
    for code, meaning in {
        0: "ok",
        1: "requirement not met",
        2: "usage or configuration",
        3: "evaluation invalid or unreliable",
        4: "undecided",
        70: "internal error: a bug of robustkit",
        130: "interrupted",
    }.items():
        assert f"    {code:<4} {meaning}\n" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_that_fits_the_screen(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: robustkit {name} ")
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        (["--budget", "90s"], "time_limit", 90),
        (["--time-limit=1.5m"], "time_limit", 90),
        (["--nearest"], "minimal", True),
        (["--minimal"], "minimal", True),
        (["--draws=4"], "draws", 4),
        (["--eot-samples", "4"], "draws", 4),
    ],
)
def test_an_option_is_understood_by_its_old_name_and_its_new_one(old, new, value):
    assert audit.command.make_context("audit", ["cnn", "--data", "digits", *old]).params[new] == value


@pytest.mark.parametrize("old", RENAMED)
def test_the_help_shows_the_new_name_alone(old, capsys):
    run(["audit", "--help"])
    words = capsys.readouterr().out.split()
    assert RENAMED[old] in words
    assert old not in words


def test_a_recorded_command_line_is_spelled_as_today():
    assert current(["audit", "cnn", "--draws=4", "--budget", "1h", "--nearest", "--name", "draws"]) == [
        *("audit", "cnn", "--eot-samples=4", "--time-limit", "1h", "--minimal", "--name", "draws")
    ]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the links are in a git checkout only, this is none")
@pytest.mark.parametrize("module", ["attacks", "attacks.pgd", "defenses", "cli", "cli.audit"])
def test_importing_through_a_link_fails_with_one_clear_line(module):
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    room = module.partition(".")[0]
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (f"ImportError: import robustkit.{room}; {room}/ is a link for people")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (NUMBERS, "0.5, 1", (0.5, 1.0)),
        (FRACTION, "2%", 0.02),
        (FRACTION, "\N{PLUS-MINUS SIGN}2%", 0.02),
        (FRACTION, "0.02", 0.02),
        (TIME, "90", 90.0),
        (TIME, "90s", 90.0),
        (TIME, "1.5h", 5400.0),
    ],
)
def test_a_text_stands_for_a_number(kind, text, value):
    assert kind.read("--it", text) == value


@pytest.mark.parametrize(("kind", "text"), [(NUMBERS, "1,a"), (FRACTION, "wide"), (TIME, ""), (TIME, "10x")])
def test_a_text_that_is_no_number_is_refused_with_what_was_expected(kind, text):
    with pytest.raises(ConfigurationError, match=f"^--it: expected {kind.expected}, got '{text}'; correct it$"):
        kind.read("--it", text)


def test_memory_that_runs_out_is_told_with_what_to_do():
    text, code = _told(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"))
    assert code == 2
    assert text.startswith("memory: expected room for the work, got OutOfMemoryError: CUDA out of memory.")
    assert "use a smaller --batch-size" in text


def test_a_reader_of_the_output_that_has_gone_is_no_error(monkeypatch):
    def leaves(**_):
        try:
            raise BrokenPipeError
        except BrokenPipeError:
            raise SystemExit(1)  # noqa: B904 - as rich does

    monkeypatch.setattr(cli, "main", leaves)
    monkeypatch.setattr("sys.stdout", sys.stdout)
    assert run([]) == 0
    sys.stdout.close()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("robustkit cl", "plain,clean-data"),
        ("robustkit audit v", "plain,vit"),
        ("robustkit audit mine.o", "file,mine.o"),
        ("robustkit audit cnn --data d", "plain,digits"),
        ("robustkit audit cnn --protocol autoattack-r", "plain,autoattack-rand"),
        ("robustkit audit cnn --attack hop", "plain,hop-skip-jump"),
        ("robustkit train cnn --objective tr", "plain,trades"),
        ("robustkit report mine -f sa", "plain,sarif"),
        ("robustkit audit cnn --mea", "plain,--mean"),
    ],
)
def test_the_shell_completes_commands_options_and_names(typed, expected, monkeypatch, capsys):
    shell = {"_ROBUSTKIT_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    assert run([]) == ExitCode.OK
    assert capsys.readouterr().out.split() == [expected]


def test_what_the_shell_offers_is_what_there_is():
    assert set(offered.MODEL.names) == set(SMALL_MODELS)
    assert set(offered.DATA.names) == {"digits", *READERS}
    assert set(offered.NORM.names) == {*NORMS, *COUNTED}
    assert set(offered.ATTACK.names) == set(ATTACKS)
    assert set(offered.OBJECTIVE.names) == OBJECTIVES.ours.keys() - {"ard", "rslad"}  # they need a teacher: a model
    assert offered.OUTPUT.names == OUTPUTS
