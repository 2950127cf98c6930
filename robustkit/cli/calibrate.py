"""`robustkit calibrate`: from confidence to honest confidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from robustkit.cli.shared.model_and_data import Case
from robustkit.cli.shared.options import case_options


@click.command("calibrate", short_help="Fit a calibrator on held-out samples.")
@case_options
@click.option("--method", default="temperature", show_default=True, help="temperature, vector or isotonic.")
@click.option("--fit-share", default=0.5, show_default=True, help="Share of the samples to fit on; the others judge.")
@click.option("--limit", type=click.IntRange(2), help="Only the first so many samples.")
@click.option("--seed", default=0, show_default=True, help="Decides which samples are fitted on.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("calibrated.json"),
    show_default=True,
    help="File that names the model and holds the calibrator.",
)
def command(load: Callable[[], Case], method: str, fit_share: float, limit: int | None, seed: int, out: Path) -> None:
    """Fit a calibrator for MODEL on some of the samples and judge it by the others.

    Give samples that the model was not trained on. The file that is written is a model: audit it like any other, on
    samples that were not used here.

    \b
    Example:
      robustkit calibrate torchvision:resnet18 --weights resnet18.safetensors --data held-out.npz
      robustkit audit calibrated.json --data test.npz
    """
    from rich.table import Table

    from robustkit.cli.shared import samples, screen
    from robustkit.defenses.calibrators import calibrate
    from robustkit.defenses.logits import held_out
    from robustkit.loading.composed import Composition, write_composition
    from robustkit.maths.calibration import columns, measure
    from robustkit.model.classifier import Classifier

    case = load()
    classifier = case.classifier
    fit, judge = samples.halves(samples.read(case.dataset, limit), fit_share, seed)
    calibrated = calibrate(classifier, fit.x, fit.y, method, case.batch_size)
    table = Table(box=None, padding=(0, 2), header_style="dim", title_justify="left", title_style="bold")
    table.title = f"{case.spec} on {len(judge)} samples, calibrated on {len(fit)} others"
    for heading in ("", "accuracy, 95 % interval", "ECE", "NLL", "Brier", "mean confidence"):
        table.add_column(heading, justify="left" if len(heading) > 12 or not heading else "right")
    after = Classifier(calibrated, bounds=classifier.bounds, output="logits")
    for name, model in (("before", classifier), (method, after)):
        logits, y = held_out(model, judge.x, judge.y, case.batch_size)
        found = measure(*columns(logits.softmax(dim=1).cpu().numpy(), y.cpu().numpy()), seed=seed)
        figures = (f"{value:.3f}" for value in (found.ece.value, found.nll.value, found.brier.value))
        table.add_row(name, screen.share(found.accuracy), *figures, f"{found.mean_confidence:.3f}")
    settings = calibrated.settings()
    part = case.part(fit.x)
    write_composition(out, Composition(kind=method, settings=settings, parts=(part,)))
    console = screen.out()
    console.print(table)
    if method == "temperature":
        console.print(f"  temperature {settings['temperature']:.4g}")
    click.echo(f"  model {out}")
