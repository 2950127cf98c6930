"""`robustkit doctor`: what is wrong with a model or its data, in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from robustkit.base.exit_codes import ExitCode
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.model_and_data import ModelOptions
from robustkit.cli.shared.options import EXPECTED, model_options, sample_options, tuning_option
from robustkit.cli.shared.samples import Choice

if TYPE_CHECKING:
    from rich.table import Table

    from robustkit.checks.diagnostic import Diagnostic


@click.command("doctor", cls=Command, short_help="Check a model and its data before any attack.")
@model_options
@tuning_option
@sample_options()
@click.option("--seed", default=0, show_default=True, help="Seed of the draw.")
@EXPECTED
def command(
    model: ModelOptions, tuning: str | None, samples: Choice, seed: int, expected_clean_accuracy: float | None
) -> ExitCode:
    """Check MODEL and its data before any attack.

    Looks at the clean accuracy, input range, labels, mode, determinism, batches, gradients and duplicates. Where the
    accuracy is low, it tries the usual mistakes (labels, mean and std, scale, channels, output) and names the one.

    \b
    Example:
      robustkit doctor mypackage.models:resnet \\
          --weights resnet.safetensors --data images.npz
    """
    from robustkit.checks.clean_accuracy import expect_clean_accuracy
    from robustkit.checks.doctor import checkup
    from robustkit.cli.shared import terminal
    from robustkit.report.document.environment import environment

    loaded = model.load().only(samples, seed).in_eval_mode()
    accuracy = expect_clean_accuracy(loaded.classifier, loaded.dataset, loaded.batch_size, expected_clean_accuracy)
    tuned, versions = model.load_tuning(tuning), environment()
    found = [
        *accuracy,
        *checkup(loaded.classifier, loaded.dataset, tuned, loaded.batch_size, expected_clean_accuracy),
    ]
    answer(model=loaded.spec, data=loaded.dataset.name, diagnostics=found, environment=versions)
    console = terminal.out()
    console.print(diagnostics_table(found))
    console.print(
        f"\nrobustkit {versions['robustkit']}, python {versions['python']}, torch {versions['torch']}, "
        f"device {loaded.classifier.device}, {loaded.classifier.model_dtype}",
        style="dim",
    )
    failed = [item for item in found if item.status == "fail"]
    for item in failed:
        say(f"robustkit: doctor {item.id} ({item.title}): {item.message}", err=True)
    return ExitCode.UNRELIABLE if failed else ExitCode.OK


def diagnostics_table(found: Sequence[Diagnostic]) -> Table:
    """Returns the checks with their status and message."""
    from rich.text import Text

    from robustkit.cli.shared.terminal import plain_table, status

    columns = ["", "check", "status", "found"]
    table = plain_table(*columns, left=columns)
    for item in found:
        table.add_row(item.id, item.title, status(item.status), Text(item.message))
    return table
