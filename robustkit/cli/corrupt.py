"""`robustkit corrupt`: accuracy and calibration under common corruptions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say_file
from robustkit.cli.shared.model_and_data import ModelOptions
from robustkit.cli.shared.options import model_options, sample_options
from robustkit.cli.shared.samples import Choice

if TYPE_CHECKING:
    from rich.table import Table

    from robustkit.cli.shared.model_and_data import ModelAndData
    from robustkit.shift.evaluate import Baseline, Shift


@dataclass(frozen=True)
class Plan:
    """The options of `robustkit corrupt`, by their names."""

    model: ModelOptions
    names: tuple[str, ...]
    severities: tuple[int, ...]
    corrupted: Path | None
    baseline: str | None
    samples: Choice
    seed: int
    quiet: bool
    out: Path


@click.command("corrupt", cls=Command, short_help="Measure accuracy and calibration under common corruptions.")
@model_options
@click.option("--corruption", "names", multiple=True, help="Only this one, such as fog; may be repeated.")
@click.option("--severity", "severities", multiple=True, type=click.IntRange(1, 5), help="Only this one, 1 to 5.")
@click.option(
    "--corrupted",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of published images, as CIFAR-10-C is laid out, made from the same samples.",
)
@click.option("--baseline", help="Also print mCE against alexnet, or a JSON file with name, clean and errors.")
@sample_options()
@click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("robustkit-shift"),
    show_default=True,
    help="Folder for shift.html, shift.json and shift.csv.",
)
def command(**options: Any) -> None:
    """Evaluate MODEL under the 15 common corruptions in 5 severities.

    The images are made on the fly, the same ones for the same seed, or read from a folder of published ones. mCE is
    comparable with published figures only on the published images.

    \b
    Examples:
      robustkit corrupt preact_resnet18 --weights r18.safetensors \\
          --data cifar10 --data-root data
      robustkit corrupt preact_resnet18 --weights r18.safetensors \\
          --data cifar10 --corrupted CIFAR-10-C
    """
    from robustkit.base.write_file import write_atomically
    from robustkit.cli.shared.report_files import check_folder

    plan = Plan(**options)
    check_folder(plan.out)
    baseline = read_baseline(plan.baseline)
    loaded = plan.model.load()
    shift = run(plan, loaded)
    pages = {"shift.json": shift.to_json(baseline), "shift.csv": shift.to_csv()}
    print_shift(shift, loaded.spec, baseline)
    answer(lambda: shift.to_dict(baseline))
    for name, text in pages.items():
        say_file(write_atomically(plan.out / name, text), "file")
    write_shift_page(plan, loaded.spec, shift)


def run(plan: Plan, loaded: ModelAndData) -> Shift:
    """Returns how the model does under every corruption."""
    from robustkit.cli.shared.progress import progress
    from robustkit.shift.corruptions import SEVERITIES
    from robustkit.shift.evaluate import evaluate_shift

    done = 0
    with progress(plan.quiet) as bar:

        def show(name: str, rows: int) -> None:
            nonlocal done
            done += rows
            bar.count(name, done, None, f"{done} images")

        return evaluate_shift(
            loaded.classifier,
            loaded.dataset,
            plan.names or None,
            plan.severities or SEVERITIES,
            batch_size=loaded.batch_size,
            limit=plan.samples.limit,
            first=plan.samples.first,
            seed=plan.seed,
            folder=plan.corrupted,
            progress=show,
        )


def write_shift_page(plan: Plan, model: str, shift: Shift) -> None:
    """Writes the same as a page."""
    from robustkit.cli.shared.page import audit_command, write_page
    from robustkit.cli.shared.terminal import percent

    mean, weights = shift.mean_accuracy, plan.model.weights
    audit = audit_command(plan.model, plan.model.model, *(["--weights", weights] if weights else []))
    write_page(
        plan.out / "shift.html",
        "Common corruptions",
        f"{model} under common corruptions",
        {
            f"Mean accuracy, 95 % interval {percent(mean.low)} to {percent(mean.high)}": percent(mean.value),
            "Clean accuracy": percent(1 - shift.clean.error),
        },
        {f"Accuracy in percent by severity, {shift.clean.accuracy.n:,} samples": shift_table(shift)},
        [f"Images from: {shift.source}. Nobody chose them to fool the model: under attack it is right less often."],
        [("Measure the accuracy under attack, too.", audit)],
    )


def print_shift(shift: Shift, model: str, baseline: Baseline | None) -> None:
    """Prints the accuracies, their mean and, against a baseline, the mean corruption error."""
    from robustkit.cli.shared import terminal
    from robustkit.shift.evaluate import ALEXNET

    console, mean = terminal.out(), shift.mean_accuracy
    title = f"{model} on {shift.clean.accuracy.n} samples, accuracy in % by severity"
    terminal.print_titled(console, title, shift_table(shift))
    interval = f"{100 * (mean.low or 0):.1f}-{100 * (mean.high or 0):.1f}"
    console.print(f"  mean accuracy {terminal.percent(mean.value)}, 95 % interval {interval}")
    if baseline:
        mce, relative = terminal.percent(shift.mce(baseline)), terminal.percent(shift.relative_mce(baseline))
        console.print(f"  mCE {mce}, relative mCE {relative} of {baseline.name}, on images from: {shift.source}")
        if baseline is ALEXNET:
            console.print("  comparable with published figures only for ImageNet models on the published ImageNet-C")


def shift_table(shift: Shift) -> Table:
    """Returns the accuracy under every corruption at every severity, a row for each corruption."""
    from robustkit.cli.shared.terminal import plain_table

    columns = ("corruption", *map(str, shift.severities), "mean", "ECE")
    table = plain_table(*columns, left=["corruption"], narrow=True)

    def figure(value: float) -> str:
        return f"{100 * value:.1f}"

    blank = [""] * len(shift.severities)
    table.add_row("clean", *blank, figure(1 - shift.clean.error), f"{shift.clean.calibration.ece.value:.3f}")
    for name in shift.corruptions:
        figures = [figure(1 - shift.by_name[name, level].error) for level in shift.severities]
        table.add_row(name, *figures, figure(shift.accuracy(name)), f"{shift.ece(name):.3f}")
    levels = [[1 - shift.by_name[name, level].error for name in shift.corruptions] for level in shift.severities]
    means = [figure(sum(level) / len(level)) for level in levels]
    ece = sum(map(shift.ece, shift.corruptions)) / len(shift.corruptions)
    table.add_row("mean", *means, figure(shift.mean_accuracy.value), f"{ece:.3f}", style="bold")
    return table


def read_baseline(name: str | None) -> Baseline | None:
    """Returns the baseline that is meant.

    Raises:
        ConfigurationError: If it is neither alexnet nor a file that holds one.
    """
    from pydantic import TypeAdapter, ValidationError

    from robustkit.shift.evaluate import ALEXNET, Baseline

    if name is None:
        return None
    if name == "alexnet":
        return ALEXNET
    path = Path(name)
    if not path.is_file():
        raise ConfigurationError(f"--baseline: expected alexnet or a JSON file, got '{name}'; correct it")
    try:
        return TypeAdapter(Baseline).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigurationError(
            f"--baseline '{path}': expected name, clean and errors by corruption, got a fault in {where}"
            f" ({first['msg']}); correct it"
        ) from None
