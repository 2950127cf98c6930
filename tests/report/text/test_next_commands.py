"""Command lines that follow on the one that made a report."""

from __future__ import annotations

import shlex

import click
import pytest

from robustkit.cli.audit import command as audit
from robustkit.cli.train import command as train
from robustkit.report.text import next_commands

TYPED = "robustkit audit cnn --data=digits --norm L2 --eps 0.5 --attack fgsm --first 9 --minimal --out 'my report'"


def parsed(command: str, by: click.Command) -> dict:
    """The options of a command line, as the command itself reads them."""
    return by.make_context(str(by.name), shlex.split(command)[2:]).params


def test_an_audit_is_repeated_by_another_protocol_into_another_folder():
    again = next_commands.with_protocol(TYPED, "autoattack")
    assert again == (
        "robustkit audit cnn --data digits --norm L2 --eps 0.5 --first 9 --minimal --protocol autoattack "
        "--out robustkit-autoattack"
    )
    assert parsed(again, audit)["protocol"] == "autoattack"


def test_an_audit_is_repeated_on_more_samples():
    again = parsed(next_commands.with_samples(TYPED, 2400), audit)
    assert (again["limit"], again["first"], again["minimal"]) == (2400, None, True)


def test_a_model_is_trained_under_the_threat_model_of_its_audit():
    options = parsed(next_commands.training(TYPED), train)
    assert {"data": "digits", "norm": "L2", "eps": "0.5", "objective": "pgd-at"}.items() <= options.items()


@pytest.mark.parametrize("command", [None, "", "robustkit demo --seed 0", "robustkit merge a b"])
def test_what_was_no_audit_is_not_repeated(command):
    assert next_commands.with_protocol(command, "autoattack") is None
    assert next_commands.training(command) is None


def test_no_model_is_trained_on_the_samples_that_measured_it():
    assert next_commands.training("robustkit audit cnn --data photos/val") is None


@pytest.mark.parametrize("more", ["--eps radii.npy", "--eps=radii.npy", "--mask free.npy"])
def test_no_training_is_suggested_under_an_eps_per_value_which_it_does_not_take(more):
    assert next_commands.training(f"robustkit audit cnn --data digits {more}") is None


def test_every_option_of_an_audit_without_a_value_is_known():
    flags = {name for one in audit.params if isinstance(one, click.Option) and one.is_flag for name in one.opts}
    assert flags - {"--json"} == {*next_commands._FLAGS}  # --json is not recorded
