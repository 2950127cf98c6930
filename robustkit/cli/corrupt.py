"""`robustkit corrupt`: accuracy and calibration under common corruptions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.model_and_data import Case
from robustkit.cli.shared.options import case_options

if TYPE_CHECKING:
    from rich.table import Table

    from robustkit.shift.evaluate import Baseline, Shift


@click.command("corrupt", short_help="Measure accuracy and calibration under common corruptions.")
@case_options
@click.option("--corruption", "names", multiple=True, help="Only this one, such as fog; may be repeated.")
@click.option("--severity", "severities", multiple=True, type=click.IntRange(1, 5), help="Only this one, 1 to 5.")
@click.option(
    "--corrupted",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of published images, as CIFAR-10-C is laid out, made of the same samples.",
)
@click.option("--baseline", help="Also print mCE against alexnet, or a JSON file with name, clean and errors.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many samples.")
@click.option("--seed", default=0, show_default=True, help="Decides all random numbers.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("robustkit-shift"),
    show_default=True,
    help="Folder for shift.json and shift.csv.",
)
def command(
    load: Callable[[], Case],
    names: tuple[str, ...],
    severities: tuple[int, ...],
    corrupted: Path | None,
    baseline: str | None,
    limit: int | None,
    seed: int,
    quiet: bool,
    out: Path,
) -> None:
    """Evaluate MODEL under the 15 common corruptions in 5 severities.

    The images are made on the way, the same ones for the same seed, or read from a folder of published ones. mCE is
    comparable with published figures only on the published images.

    \b
    Examples:
      robustkit corrupt preact_resnet18 --weights r18.safetensors --data cifar10 --data-root data
      robustkit corrupt preact_resnet18 --weights r18.safetensors --data cifar10 --corrupted CIFAR-10-C
    """
    from robustkit.base.write_file import write_atomically
    from robustkit.cli.shared import report_files as files
    from robustkit.cli.shared import screen
    from robustkit.shift.corruptions import SEVERITIES
    from robustkit.shift.evaluate import evaluate_shift

    files.check_folder(out)
    reference = _baseline(baseline)
    case = load()
    done = 0
    with screen.progress(quiet) as bar:

        def show(name: str, rows: int) -> None:
            nonlocal done
            done += rows
            bar.count(name, done, None, f"{done} images")

        shift = evaluate_shift(
            case.classifier,
            case.dataset,
            names or None,
            severities or SEVERITIES,
            batch_size=case.batch_size,
            limit=limit,
            seed=seed,
            folder=corrupted,
            progress=show,
        )
    written = shift.to_json(reference)
    console = screen.out()
    table = _table(shift)
    table.title = f"{case.spec} on {shift.clean.accuracy.n} samples, accuracy in % by severity"
    console.print(table)
    low, high = shift.mean_accuracy.low or 0, shift.mean_accuracy.high or 0
    console.print(
        f"  mean accuracy {100 * shift.mean_accuracy.value:.1f} %, 95 % interval {100 * low:.1f}-{100 * high:.1f}"
    )
    if reference:
        console.print(
            f"  mCE {100 * shift.mce(reference):.1f} %, relative mCE {100 * shift.relative_mce(reference):.1f} %"
            f" of {reference.name}"
        )
    for name, text in (("shift.json", written), ("shift.csv", shift.to_csv())):
        click.echo(f"  {write_atomically(out / name, text)}")


def _table(shift: Shift) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 2), header_style="dim", title_justify="left", title_style="bold")
    table.add_column("corruption")
    for heading in (*map(str, shift.severities), "mean", "ECE"):
        table.add_column(heading, justify="right")

    def percent(value: float) -> str:
        return f"{100 * value:.1f}"

    blank = [""] * len(shift.severities)
    table.add_row("clean", *blank, percent(1 - shift.clean.error), f"{shift.clean.calibration.ece.value:.3f}")
    for name in shift.corruptions:
        figures = [percent(1 - shift.by_name[name, level].error) for level in shift.severities]
        table.add_row(name, *figures, percent(shift.accuracy(name)), f"{shift.ece(name):.3f}")
    columns = [[1 - shift.by_name[name, level].error for name in shift.corruptions] for level in shift.severities]
    means = [percent(sum(column) / len(column)) for column in columns]
    ece = sum(map(shift.ece, shift.corruptions)) / len(shift.corruptions)
    table.add_row("mean", *means, percent(shift.mean_accuracy.value), f"{ece:.3f}", style="bold")
    return table


def _baseline(name: str | None) -> Baseline | None:
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
