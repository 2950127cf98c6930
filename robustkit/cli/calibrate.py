"""`robustkit calibrate`: from confidence to honest confidence."""

from __future__ import annotations

from pathlib import Path

import click

from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say_file
from robustkit.cli.shared.model_and_data import ModelOptions
from robustkit.cli.shared.options import model_options, sample_options
from robustkit.cli.shared.samples import Choice


@click.command("calibrate", cls=Command, short_help="Fit a calibrator on held-out samples.")
@model_options
@click.option("--method", default="temperature", show_default=True, help="temperature, vector or isotonic.")
@click.option(
    "--fit-share", default=0.5, show_default=True, help="Fraction of the samples to fit on; the others judge."
)
@sample_options(least=2)
@click.option("--seed", default=0, show_default=True, help="Decides which samples are drawn and which are fitted on.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("calibrated.json"),
    show_default=True,
    help="File that names the model and holds the calibrator.",
)
def command(model: ModelOptions, method: str, fit_share: float, samples: Choice, seed: int, out: Path) -> None:
    """Fit a calibrator for MODEL on some of the samples and judge it by the others.

    Give samples that the model was not trained on. The file that is written is a model: audit it like any other, on
    samples that were not used here.

    \b
    Example:
      robustkit calibrate torchvision:resnet18 \\
          --weights resnet18.safetensors --data held-out.npz
      robustkit audit calibrated.json --data test.npz
    """
    from robustkit.cli.shared import terminal
    from robustkit.cli.shared.samples import halves, read
    from robustkit.defenses.calibrators import calibrate
    from robustkit.defenses.logits import held_out
    from robustkit.loading.composed import Composition, write_composition
    from robustkit.maths.calibration import columns, measure
    from robustkit.model.classifier import Classifier

    loaded = model.load().only(samples, seed)
    classifier = loaded.classifier
    fit, judge = halves(read(loaded.dataset), fit_share, seed)
    calibrated = calibrate(classifier, fit.x, fit.y, method, loaded.batch_size)
    headings = ("", "accuracy, 95 % interval", "ECE", "NLL", "Brier", "mean confidence")
    table = terminal.plain_table(*headings, left=["", "accuracy, 95 % interval"])
    after = Classifier(calibrated, bounds=classifier.bounds, output="logits")
    judged = {}
    for name, one in (("before", classifier), (method, after)):
        logits, y = held_out(one, judge.x, judge.y, loaded.batch_size)
        judged[name] = found = measure(
            *columns(one.probabilities(logits).cpu().numpy(), y.cpu().numpy(), one.one_vs_rest), seed=seed
        )
        figures = (f"{value:.3f}" for value in (found.ece.value, found.nll.value, found.brier.value))
        table.add_row(name, terminal.accuracy(found.accuracy), *figures, f"{found.mean_confidence:.3f}")
    settings = calibrated.settings()
    write_composition(out, Composition(kind=method, settings=settings, parts=(loaded.part(fit.x),)))
    answer(method=method, settings=settings, fitted_on=len(fit), before=judged["before"], after=judged[method])
    console = terminal.out()
    terminal.print_titled(console, f"{loaded.spec} on {len(judge)} samples, calibrated on {len(fit)} others", table)
    if method == "temperature":
        console.print(f"  temperature {settings['temperature']:#.4g}")
    if calibrated.note:
        console.print(f"  {calibrated.note}", soft_wrap=True)
    say_file(out, "model")
