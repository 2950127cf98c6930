"""`robustkit ensemble`: several models as one, and how they stand together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.model_and_data import Case
from robustkit.cli.shared.options import attack_options, cases_options

if TYPE_CHECKING:
    from rich.table import Table

    from robustkit.cli.shared.screen import Bar
    from robustkit.defenses.base import Objective
    from robustkit.evaluation.members import Transfer

DEFAULT_ATTACKS = ("pgd:steps=20", "pgd:steps=20,loss=margin")


@click.command("ensemble", short_help="Make one model of several, and show how they stand together.")
@cases_options
@click.option(
    "--rule",
    default="mean_logits",
    show_default=True,
    help="mean_logits, mean_probabilities, soft_vote, hard_vote, or weighted (fitted on half of the samples).",
)
@click.option(
    "--train", type=click.IntRange(2), help="First train so many members of MODEL, each from its own weights."
)
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="Of each member, with --train.")
@click.option("--adversarial", is_flag=True, help="Train them on PGD's points within the budget.")
@attack_options(f"May be repeated; see `robustkit attacks`.  [default: {' '.join(DEFAULT_ATTACKS)}]")
@click.option("--limit", type=click.IntRange(2), default=500, show_default=True, help="Only the first so many samples.")
@click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("ensemble.json"),
    show_default=True,
    help="File that names members, rule and weights.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    load: Callable[..., list[Case]],
    rule: Any,
    train: int | None,
    epochs: int,
    adversarial: bool,
    norm: str,
    eps: str,
    attacks: tuple[str, ...],
    limit: int,
    seed: int,
    out: Path,
    quiet: bool,
) -> None:
    """Make one model of several MODELs, of several --weights of one MODEL (snapshots), or of members trained here.

    Every member and the ensemble itself are attacked, and everybody is judged by everybody's adversarial points. The
    file that is written is a model: audit it like any other.

    \b
    Example:
      robustkit ensemble cnn --weights a.safetensors --weights b.safetensors --data digits --rule hard_vote
      robustkit ensemble cnn --train 3 --data digits --eps 0.15
      robustkit audit ensemble.json --data digits
    """
    from robustkit.attacks import create
    from robustkit.cli.shared import samples, screen
    from robustkit.defenses import PGDTraining, Standard
    from robustkit.defenses.ensemble import Ensemble, fit_weights
    from robustkit.evaluation.members import transfer
    from robustkit.loading.composed import Composition, write_composition
    from robustkit.model.classifier import Classifier

    chosen = [create(spec, norm=norm, eps=eps) for spec in attacks or DEFAULT_ATTACKS]
    if train:
        objective = PGDTraining(attack=create("pgd:steps=7", norm=norm, eps=eps)) if adversarial else Standard()
        with screen.progress(quiet) as bar:
            cases = load(weights=_trained(load(split="train", weights=()), train, objective, epochs, seed, out, bar))
    else:
        cases = load()
    if len(cases) < 2:
        raise ConfigurationError("ensemble: expected two or more members, got one; name more models or --weights")
    members = [case.classifier for case in cases]
    batch = samples.read(cases[0].dataset, limit)
    settings: dict[str, Any] = {"rule": rule}
    if rule == "weighted":
        fit, batch = samples.halves(batch, 0.5, seed)
        settings["weights"] = fit_weights(members, fit.x, fit.y, rule, cases[0].batch_size)
    whole = Classifier(
        Ensemble(members, **settings), bounds=members[0].bounds, num_classes=members[0].num_classes, output="logits"
    )
    names = [f"{number}" for number in range(1, len(members) + 1)]
    models = dict(zip([*names, "ensemble"], [*members, whole], strict=True))
    with screen.progress(quiet) as bar:
        found = transfer(
            models,
            batch.x,
            batch.y,
            chosen,
            seed=seed,
            batch_size=cases[0].batch_size,
            progress=lambda done, total: bar.count("attack everybody", done, total),
        )
    composition = Composition(kind="ensemble", settings=settings, parts=tuple(case.part(batch.x) for case in cases))
    write_composition(out, composition)
    console = screen.out()
    for name, case, weight in zip(names, cases, settings.get("weights", [None] * len(cases)), strict=True):
        share = "" if weight is None else f", weight {weight:.3f}"
        console.print(f"  {name}  {case.spec}{f' {case.weights}' if case.weights else ''}{share}", soft_wrap=True)
    console.print(f"[bold]Accuracy in percent on {len(batch)} samples, {norm} {eps}, {rule}")
    console.print(_matrix(found))
    console.print(_disagreement(found))
    click.echo(f"  model {out}")


def _trained(
    cases: list[Case], count: int, objective: Objective, epochs: int, seed: int, out: Path, bar: Bar
) -> tuple[Path, ...]:
    """Trains members of one architecture and returns the files with their weights, beside the ensemble's own."""
    from safetensors.torch import save

    from robustkit.base.write_file import write_atomically
    from robustkit.cli.shared import samples
    from robustkit.defenses import fit
    from robustkit.defenses.ensemble import fresh_copies

    if len(cases) > 1:
        raise ConfigurationError(f"--train: expected one architecture, got {len(cases)}; name one model")
    (case,) = cases
    if case.dataset.split != "train":
        raise ConfigurationError(
            f"--train: expected data with a training split, got '{case.dataset.name}', which would train and judge"
            " on the same samples; train the members one by one and give their --weights"
        )
    batch, files = samples.read(case.dataset, None), []
    for number, module in enumerate(fresh_copies(case.classifier.module.cpu(), count, seed), 1):
        classifier = case.classifier.replace(model=module.to(case.classifier.device))
        name = f"member {number} of {count}"
        fit(classifier, batch.x, batch.y, objective, epochs=epochs, seed=seed + number, progress=bar.training(name))
        weights = {key: value.cpu().contiguous() for key, value in module.state_dict().items()}
        files.append(write_atomically(out.with_name(f"{out.stem}-{number}.safetensors"), save(weights)))
    return tuple(files)


def _matrix(found: Transfer) -> Table:
    """Returns who is right on whose points; a model under its own attack is bold."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("points made for")
    for name in found.names:
        table.add_column(name, justify="right")
    table.add_row("nobody (clean)", *(f"{100 * (share.value or 0):.1f}" for share in found.clean))
    for i, (name, row) in enumerate(zip(found.names, found.accuracy, strict=True)):
        cells = [Text(f"{100 * (share.value or 0):.1f}", style="bold" if i == j else "") for j, share in enumerate(row)]
        table.add_row(name, *cells)
    return table


def _disagreement(found: Transfer) -> str:
    """Returns how often members answer differently, without the ensemble in the last place."""
    pairs = [
        (100 * (found.disagreement[i][j].value or 0), f"{found.names[i]} and {found.names[j]}")
        for i in range(len(found.names) - 1)
        for j in range(i)
    ]
    low, high = min(pairs), max(pairs)
    if len(pairs) == 1:
        return f"  members disagree on {low[0]:.1f} % of the clean samples"
    return f"  members disagree on {low[0]:.1f} % ({low[1]}) to {high[0]:.1f} % ({high[1]}) of the clean samples"
