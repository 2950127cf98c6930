"""`robustkit ensemble`: several models as one, and how robust they are together."""

from __future__ import annotations

import dataclasses
import shlex
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.echo import say, say_file
from robustkit.cli.shared.members import Members
from robustkit.cli.shared.model_and_data import SeveralModels
from robustkit.cli.shared.offered import OBJECTIVE
from robustkit.cli.shared.options import attack_options, sample_options, several_models_options
from robustkit.cli.shared.recipe_options import RecipeCommand, defaults, recipe_of
from robustkit.cli.shared.samples import Choice
from robustkit.cli.shared.training import NUM_WORKERS, Run

if TYPE_CHECKING:
    from rich.table import Table

    from robustkit.attacks import Attack
    from robustkit.cli.shared.model_and_data import ModelAndData
    from robustkit.cli.shared.progress import Bar
    from robustkit.data.dataset import Batch
    from robustkit.defenses.ensemble import Rule
    from robustkit.defenses.training import Recipe
    from robustkit.evaluation.ensemble_members import Transfer
    from robustkit.maths.norms import Norm
    from robustkit.model.classifier import Classifier

DEFAULT_ATTACKS = ("pgd:steps=20", "pgd:steps=20,loss=margin")


@dataclasses.dataclass(frozen=True)
class Plan:
    """The options of `robustkit ensemble`, by their names."""

    models: SeveralModels
    rule: Rule
    train: int | None
    cycles: bool
    objective: str | None
    adversarial: bool
    recipe: Recipe
    num_workers: int | None
    resume: bool
    norm: Norm
    eps: str
    attacks: tuple[str, ...]
    samples: Choice
    seed: int
    out: Path
    quiet: bool

    def create(self, spec: str) -> Attack:
        """Returns an attack within the plan's norm and eps."""
        from robustkit.attacks import create

        return create(spec, norm=self.norm, eps=self.eps)

    def members(self) -> Members:
        """Returns the members to train."""
        objective = self.objective or ("pgd-at:steps=7" if self.adversarial else "standard")
        run = Run(
            objective=objective,
            norm=self.norm,
            eps=self.eps,
            recipe=self.recipe,
            num_workers=self.num_workers,
            resume=self.resume,
        )
        return Members(self.train or 0, self.cycles, run, self.out)


@click.command(
    "ensemble", cls=RecipeCommand, short_help="Make one model of several, and show how robust they are together."
)
@several_models_options
@click.option(
    "--rule",
    default="mean_logits",
    show_default=True,
    help="mean_logits, mean_probabilities, soft_vote, hard_vote, or weighted (fitted on half of the samples).",
)
@click.option(
    "--train", type=click.IntRange(2), help="First train so many members of MODEL, each from its own initial weights."
)
@click.option("--cycles", is_flag=True, help="With --train: the states at the ends of as many cycles of one run.")
@click.option("--objective", type=OBJECTIVE, metavar="NAME[:SETTING=VALUE,...]",
              help="With --train: as for `robustkit train`.  [default: standard]")  # fmt: skip
@click.option("--adversarial", is_flag=True, help="With --train: short for --objective pgd-at:steps=7.")
@NUM_WORKERS
@click.option("--resume", is_flag=True, help="With --train: keep finished members, resume from checkpoints.")
@attack_options(f"May be repeated; see `robustkit attacks`.  [default: {' '.join(DEFAULT_ATTACKS)}]")
@sample_options(least=2, default=500)
@click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("ensemble.json"),
    show_default=True,
    help="File that names members, rule and weights.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
def command(**options: Any) -> None:
    """Make one model of several MODELs, of several --weights of one MODEL (snapshots), or of members trained here.

    Every member and the ensemble itself are attacked, and cross-member transfer is measured: each of them is also
    evaluated on the adversarial examples made for the others. The file that is written is a model: audit it like any
    other.

    \b
    Examples:
      robustkit ensemble cnn --data digits --rule hard_vote \\
          --weights a.safetensors --weights b.safetensors
      robustkit ensemble cnn --train 3 --data digits --eps 0.15 \\
          --objective trades:beta=2 --epochs 20
      robustkit audit ensemble.json --data digits
    """
    from robustkit.attacks.names import labels, strength
    from robustkit.attacks.radius import refuse_grey_levels
    from robustkit.cli.shared import samples
    from robustkit.cli.shared.progress import progress
    from robustkit.evaluation.ensemble_members import transfer
    from robustkit.loading.composed import Composition, write_composition

    settings = {name: options.pop(name) for name in defaults() if name in options and name != "seed"}
    recipe = recipe_of({**settings, "seed": options["seed"]})
    plan = Plan(recipe=recipe, **options)
    if not plan.train and (plan.objective or plan.cycles or plan.resume):
        raise ConfigurationError("ensemble: expected --train with --objective, --cycles and --resume, got none")
    if plan.out.suffix == ".html":
        raise ConfigurationError(
            f"--out: expected a name for the model, got '{plan.out}', which its page takes; such as ensemble.json"
        )
    remark = plan.members().run.remark() if plan.train else None
    if remark:
        say(f"robustkit: {remark}", err=True)
    attacks = [plan.create(spec) for spec in plan.attacks or DEFAULT_ATTACKS]
    with progress(plan.quiet) as bar:
        members = trained(plan, bar).load() if plan.train else plan.models.load()
        if len(members) < 2:
            raise ConfigurationError("ensemble: expected two or more members, got one; name more models or --weights")
        refuse_grey_levels(plan.eps, members[0].classifier.bounds)
        batch = samples.read(plan.samples.of(members[0].dataset, plan.seed))
        settings, batch = combination(plan, members, batch)
        found = transfer(
            models(members, settings),
            batch.x,
            batch.y,
            attacks,
            seed=plan.seed,
            batch_size=members[0].batch_size,
            progress=lambda done, total: bar.count("attack every member", done, total),
        )
    parts = tuple(member.part(batch.x) for member in members)
    write_composition(plan.out, Composition(kind="ensemble", settings=settings, parts=parts))
    title = f"Accuracy in percent on {len(batch)} samples, {plan.norm} {plan.eps}, {plan.rule}"
    print_ensemble(title, members, settings.get("weights"), found)
    named = (strength(label, attack.settings()) for label, attack in zip(labels(attacks), attacks, strict=True))
    said = f"attacks: {', '.join(named)}; not a standard protocol, so audit the file that is written"
    say(f"  {said}")
    answer(found)
    say_file(plan.out, "model")
    write_ensemble_page(plan, title, found, (said, disagreement(found)))


def write_ensemble_page(plan: Plan, title: str, found: Transfer, notes: tuple[str, ...]) -> None:
    """Writes the same as a page."""
    from robustkit.cli.shared.page import write_page
    from robustkit.cli.shared.terminal import percent

    names = ["robustkit", "audit", str(plan.out), "--data", str(plan.models.common["data"])]
    write_page(
        plan.out.with_suffix(".html"),
        "Ensemble",
        f"{len(found.names) - 1} models combined by {plan.rule}",
        {
            "Clean accuracy": percent(found.clean[-1].value),
            f"Under these attacks, {plan.norm} {plan.eps}": percent(found.accuracy[-1][-1].value),
            "Best member under its own": percent(max(row[i].value or 0 for i, row in enumerate(found.accuracy[:-1]))),
        },
        {title: matrix(found)},
        notes,
        [("Audit the ensemble as a whole.", shlex.join([*names, "--norm", plan.norm, "--eps", plan.eps]))],
    )


def trained(plan: Plan, bar: Bar) -> SeveralModels:
    """Trains members of one architecture; their weights are written beside the ensemble.

    Raises:
        ConfigurationError: If several models were named, or the data have no training split.
    """
    assert plan.train
    untrained = dataclasses.replace(plan.models, weights=(), common={**plan.models.common, "split": "train"}).load()
    if len(untrained) > 1:
        raise ConfigurationError(f"--train: expected one architecture, got {len(untrained)}; name one model")
    (member,) = untrained
    if member.dataset.split != "train":
        raise ConfigurationError(
            f"--train: expected data with a training split, got '{member.dataset.name}', which would train and judge"
            " on the same samples; train the members one by one and give their --weights"
        )
    files = plan.members().trained(member, bar.training)
    return dataclasses.replace(plan.models, weights=tuple(files))


def combination(plan: Plan, members: list[ModelAndData], batch: Batch) -> tuple[dict[str, Any], Batch]:
    """Returns how members are combined, and the samples that judge; weights are fitted on half of them."""
    from robustkit.cli.shared import samples
    from robustkit.defenses.ensemble import fit_weights

    if plan.rule != "weighted":
        return {"rule": plan.rule}, batch
    fit, judge = samples.halves(batch, 0.5, plan.seed)
    classifiers = [member.classifier for member in members]
    return {
        "rule": plan.rule,
        "weights": fit_weights(classifiers, fit.x, fit.y, plan.rule, members[0].batch_size),
    }, judge


def models(members: list[ModelAndData], settings: dict[str, Any]) -> dict[str, Classifier]:
    """Returns the members, called by their numbers, and the ensemble."""
    from robustkit.defenses.ensemble import Ensemble
    from robustkit.model.classifier import Classifier

    classifiers = [member.classifier for member in members]
    first, whole = classifiers[0], Ensemble(classifiers, **settings)
    ensemble = Classifier(whole, bounds=first.bounds, num_classes=first.num_classes, output="logits")
    return {**{f"{number}": one for number, one in enumerate(classifiers, 1)}, "ensemble": ensemble}


def print_ensemble(title: str, members: list[ModelAndData], weights: list[float] | None, found: Transfer) -> None:
    """Prints who the members are, and how they fare under each other's attacks."""
    from robustkit.cli.shared import terminal

    console = terminal.out()
    for number, (member, weight) in enumerate(zip(members, weights or repeat(None, len(members)), strict=True), 1):
        file = f" {member.weights}" if member.weights else ""
        share = "" if weight is None else f", weight {weight:.3f}"
        console.print(f"  {number}  {member.spec}{file}{share}", soft_wrap=True)
    terminal.print_titled(console, title, matrix(found))
    console.print(f"  {disagreement(found)}")


def matrix(found: Transfer) -> Table:
    """Returns the accuracy of each model on each other's points; a model under its own attack is bold."""
    from rich.text import Text

    from robustkit.cli.shared.terminal import plain_table

    table = plain_table("points made for", *found.names, left=["points made for"])
    table.add_row("none (clean)", *(f"{100 * (share.value or 0):.1f}" for share in found.clean))
    for i, (name, row) in enumerate(zip(found.names, found.accuracy, strict=True)):
        cells = [Text(f"{100 * (share.value or 0):.1f}", style="bold" if i == j else "") for j, share in enumerate(row)]
        table.add_row(name, *cells)
    return table


def disagreement(found: Transfer) -> str:
    """Returns how often members answer differently, without the ensemble in the last place."""
    pairs = [
        (100 * (found.disagreement[i][j].value or 0), f"{found.names[i]} and {found.names[j]}")
        for i in range(len(found.names) - 1)
        for j in range(i)
    ]
    low, high = min(pairs), max(pairs)
    if len(pairs) == 1:
        return f"members disagree on {low[0]:.1f} % of the clean samples"
    return f"members disagree on {low[0]:.1f} % ({low[1]}) to {high[0]:.1f} % ({high[1]}) of the clean samples"
