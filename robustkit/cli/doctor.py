"""`robustkit doctor`: what is wrong with a model or its data, in seconds."""

from __future__ import annotations

from collections.abc import Callable

import click

from robustkit.cli.shared.evaluation_options import in_eval_mode, load_tuning, tuning_option
from robustkit.cli.shared.model_and_data import Case
from robustkit.cli.shared.options import case_options


@click.command("doctor", short_help="Check a model and its data before any attack.")
@case_options
@tuning_option
def command(load: Callable[..., Case], tuning: str | None) -> int:
    """Check MODEL with its data before any attack: range, labels, mode, determinism, batches, gradients, copies.

    \b
    Example:
      robustkit doctor mypackage.models:resnet --weights resnet.safetensors --data images.npz
    """
    from robustkit.checks.doctor import checkup
    from robustkit.cli.shared import screen
    from robustkit.report.document.environment import environment

    case = in_eval_mode(load())
    found = checkup(case.classifier, case.dataset, load_tuning(load, tuning), case.batch_size)
    console = screen.out()
    console.print(screen.diagnostics_table(found))
    versions = environment()
    console.print(
        f"\nrobustkit {versions['robustkit']}, python {versions['python']}, torch {versions['torch']}, "
        f"device {case.classifier.device}, {case.classifier.model_dtype}",
        style="dim",
    )
    failed = [item for item in found if item.status == "fail"]
    for item in failed:
        click.echo(f"robustkit: doctor {item.id}: {item.message}", err=True)
    return 3 if failed else 0
