"""What every command has: options in groups, and a file that may hold them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from complaints import complaint

from robustkit.base.errors import ConfigurationError
from robustkit.cli import COMMANDS, Commands, cli, run
from robustkit.cli.shared.command import FIRST, GROUPS, Command
from robustkit.cli.shared.command_line import typed


@click.command("try", cls=Command)
@click.argument("model")
@click.option("--eps", default="8/255")
@click.option("--attack", "attacks", multiple=True)
@click.option("--mean")
@click.option("--strict", is_flag=True)
@click.option("--evidence/--no-evidence", default=True)
def attempt(**values: object) -> dict[str, object]:
    return {**values, "typed": typed()}


def tried(text: str, *words: str) -> dict[str, object]:
    Path("it.toml").write_text(text)
    found: dict[str, object] = attempt.main([*words, "--config", "it.toml"], standalone_mode=False, obj=list(words))
    return found


def test_a_file_stands_for_options_and_arguments_which_are_remembered_as_if_typed(in_folder):
    text = 'model = "cnn"\neps = 0.25\nattack = ["pgd", "fgsm"]\nmean = [0.5, 0.25]\nstrict = true\nevidence = false'
    assert tried(text) == {
        "model": "cnn", "eps": "0.25", "attacks": ("pgd", "fgsm"), "mean": "0.5,0.25", "strict": True,
        "evidence": False,
        "typed": ["try", "cnn", "--eps=0.25", "--attack=pgd", "--attack=fgsm", "--mean=0.5,0.25", "--strict",
                  "--no-evidence"],
    }  # fmt: skip


def test_what_is_typed_goes_before_a_file(in_folder):
    found = tried('model = "cnn"\neps = 0.25\nattack = ["pgd", "fgsm"]', "mlp", "--attack", "square")
    assert (found["model"], found["eps"], found["attacks"]) == ("mlp", "0.25", ("square",))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("epps = 1", "did you mean 'eps'"),
        ("help = true", "got 'help'"),
        ("strict = 1", "expected true or false for strict, got 1"),
        ("eps = true", "expected a text or a number for eps, got True"),
        ("eps = {a = 1}", "expected a text or a number for eps"),
        ("eps = ", "expected a TOML file"),
    ],
)
def test_a_wrong_file_is_refused(text, wrong, in_folder):
    with pytest.raises(ConfigurationError, match=wrong):
        tried(text, "cnn")


def test_an_audit_is_read_from_a_file(in_folder, capsys):
    Path("audit.toml").write_text('data = "digits"\nprotocol = "fasst"')
    assert "fasst" in complaint(capsys, ["audit", "cnn", "--config", "audit.toml"])


def test_every_option_in_a_group_belongs_to_a_command():
    context = click.Context(cli)
    commands = [Commands.get_command(cli, context, name) for name in COMMANDS]
    names = {name for command in commands if command for param in command.get_params(context) for name in param.opts}
    grouped = {f"--{name}" for group in GROUPS.values() for name in group.split()} | set(FIRST)
    assert grouped <= names


@pytest.mark.parametrize("width", [40, 80])
def test_help_shows_the_most_used_options_first_and_fits_the_terminal(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(["audit", "--help"]) == 0
    options = capsys.readouterr().out.partition("Options:")[2].partition("Exit codes")[0]
    assert options.index("--eps") < options.index("Model:") < options.index("--mean") < options.index("Run:")
    assert max(map(len, options.splitlines())) <= width


def test_an_attack_is_explained_with_every_setting(capsys):
    assert run(["attacks", "pgd"]) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in ("Madry", "Gradient steps per start", "How often an unbroken row"))
    assert "did you mean 'pgd'" in complaint(capsys, ["attacks", "pgdd"])


def test_a_protocol_given_as_an_attack_is_pointed_to_its_option(capsys):
    words = ["audit", "cnn", "--data", "digits", "--attack", "autoattack"]
    assert "--protocol autoattack" in complaint(capsys, words)
