"""`robustkit train`: from a model, data and a recipe to weights."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustkit.base.exit_codes import ExitCode, listed
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.echo import say, say_file
from robustkit.cli.shared.model_and_data import ModelOptions
from robustkit.cli.shared.offered import NORM, OBJECTIVE
from robustkit.cli.shared.options import sample_options, training_options
from robustkit.cli.shared.recipe_options import RecipeCommand, defaults, recipe_of
from robustkit.cli.shared.training import NUM_WORKERS, Run, unresolved

if TYPE_CHECKING:
    from rich.text import Text

    from robustkit.cli.shared.model_and_data import ModelAndData
    from robustkit.defenses.training import Training
    from robustkit.defenses.training.measurement import Epoch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan(Run):
    """The options of `robustkit train`, by their names.

    Attributes:
        model: Network and data.
        out: Folder for weights, checkpoint and log.
        quiet: Whether to show no progress.
    """

    model: ModelOptions
    out: Path
    quiet: bool


@click.command("train", cls=RecipeCommand, short_help="Train a model, adversarially or not.", epilog=listed())
@training_options
@click.option("--objective", type=OBJECTIVE, default="pgd-at", show_default=True, metavar="NAME[:SETTING=VALUE,...]",
              help="standard, pgd-at, fgsm, fgsm-rs, n-fgsm, free, trades, mart, ibp; awp+..., gradalign+...,"
              " augmix+... wrap one. Settings of the inner PGD too, such as trades:beta=6,steps=10.")  # fmt: skip
@click.option("--norm", type=NORM, default="Linf", show_default=True, help="Linf, L2 or L1.")
@click.option(
    "--eps", default="8/255", show_default=True, help="Perturbation radius in input units, a number or a fraction."
)
@sample_options()
@NUM_WORKERS
@click.option("--out", type=click.Path(path_type=Path), default=Path("robustkit-training"), show_default=True,
              help="Folder for weights.safetensors, checkpoint.safetensors, log.csv and log.jsonl.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Resume from the checkpoint in --out, if there is one.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(**options: Any) -> ExitCode:
    """Train MODEL and write the weights of its best epoch, judged by robust accuracy on samples held out from training.

    MODEL is package.module:factory, torchvision:NAME, timm:NAME, or a small model by name: mlp, cnn, lenet, strided,
    lstm, preact_resnet18, wideresnet[:depth=28,width=10], vit.

    \b
    Examples:
      robustkit train cnn --data digits \\
          --objective trades:beta=2 --eps 0.1 --epochs 20
      robustkit train torchvision:resnet18 \\
          --weights resnet18.safetensors --replace-head \\
          --data ~/flowers/train --image-size 224 \\
          --objective standard --head-epochs 3
      torchrun --nproc-per-node 4 -m robustkit train \\
          preact_resnet18 --data cifar10
    """
    from robustkit.attacks.radius import refuse_grey_levels
    from robustkit.base.processes import ranks
    from robustkit.cli.shared import terminal
    from robustkit.cli.shared.report_files import check_folder, claimed
    from robustkit.cli.shared.resume import keeping
    from robustkit.defenses.training.run_folder import CHECKPOINT

    check_folder(options["out"])
    settings = {name: options.pop(name) for name in defaults()}
    plan = Plan(recipe=recipe_of(settings), **options)
    if plan.model.replace_head and plan.recipe.head:
        plan = dataclasses.replace(plan, model=dataclasses.replace(plan.model, replace_head=plan.recipe.head))
    remark = plan.remark()  # a wrong name or setting is said before anything is loaded
    if remark and ranks().first:
        say(f"robustkit: {remark}", err=True)
    with claimed(plan.out), keeping(plan.out, CHECKPOINT):
        loaded = plan.model.load()
        refuse_grey_levels(plan.eps, loaded.classifier.bounds)
        training = run(plan, loaded)
    fatal = unresolved(training)
    if ranks().first:
        name = f"{plan.objective} training of {loaded.spec}, {plan.norm} {plan.eps}"
        terminal.out().print(training_text(training, name))
        answer(training)
        say_file(plan.out / "weights.safetensors", "weights")
        write_training_page(plan, name, training)
        for finding in fatal:
            say(f"robustkit: {finding}", err=True)
    return ExitCode.UNRELIABLE if fatal else ExitCode.OK


def run(plan: Plan, loaded: ModelAndData) -> Training:
    """Trains as planned."""
    from robustkit.base.processes import ranks
    from robustkit.cli.shared.progress import progress

    with progress(plan.quiet or not ranks().first) as bar:
        return plan.train(loaded, plan.out, None if plan.quiet else bar.training(loaded.spec, lines=True))


def write_training_page(plan: Plan, name: str, training: Training) -> None:
    """Writes what came of a run as a page."""
    from robustkit.cli.shared.page import audit_command, write_page
    from robustkit.cli.shared.terminal import plain_table

    columns = ("epoch", "loss", "clean accuracy", "accuracy under PGD")
    table = plain_table(*columns, left=["epoch"])
    for epoch in training.epochs:
        table.add_row(str(epoch.number), f"{epoch.loss:.4g}", *_shares(epoch))
    chosen = training.best or (training.epochs[-1] if training.epochs else None)
    clean, robust = _shares(chosen)
    weights = plan.out / "weights.safetensors"
    audit = audit_command(plan.model, plan.model.model, "--weights", weights, "--norm", plan.norm, "--eps", plan.eps)
    write_page(
        plan.out / "training.html",
        "Training",
        name,
        {
            "Epoch kept": f"{chosen.number} of {len(training.epochs)}" if chosen else "none",
            "Clean accuracy": clean,
            "Accuracy under PGD": robust,
        },
        {"Epochs": table},
        [
            f"Measured on samples {'held out' if training.best else 'that were trained on'}.",
            *([f"Stopped: {training.stopped}."] if training.stopped else []),
            *map(str, training.findings),
        ],
        [("Audit the model: PGD alone is no evidence of robustness.", audit)],
    )


def _shares(epoch: Epoch | None) -> tuple[str, str]:
    """Returns clean accuracy and that under PGD, a dash where it was not measured."""
    from robustkit.cli.shared.terminal import percent

    found = epoch.figures if epoch else None
    values = (found.clean, found.robust) if found else (math.nan, math.nan)
    clean, robust = (percent(None if math.isnan(value) else value) for value in values)
    return clean, robust


def training_text(training: Training, name: str) -> Text:
    """Returns what came of a run and what the guards found."""
    from rich.text import Text

    from robustkit.cli.shared.progress import accuracies

    lines = Text(name, style="bold")
    if chosen := training.best or (training.epochs[-1] if training.epochs else None):
        lines.append(f"\n  epoch {chosen.number} of {len(training.epochs)}{accuracies(chosen)}", style="not bold")
        if figures := chosen.figures:
            lines.append(f" (PGD, {figures.n} samples {'held out' if training.best else 'seen'})", style="dim not bold")
    if training.stopped:
        lines.append(f"\n  stopped: {training.stopped}", style="not bold yellow")
    for finding in training.findings:
        lines.append(f"\n  {finding}", style="not bold " + ("bold red" if finding.fatal else "yellow"))
    return lines
