"""`robustkit certify`: the radius within which a smoothed classifier is proven, sample by sample."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say_file
from robustkit.cli.shared.model_and_data import ModelOptions
from robustkit.cli.shared.option_types import NUMBERS
from robustkit.cli.shared.options import model_options, sample_options
from robustkit.cli.shared.samples import Choice

if TYPE_CHECKING:
    from rich.table import Table

    from robustkit.cli.shared.model_and_data import ModelAndData
    from robustkit.maths.intervals import Proportion


@dataclass(frozen=True)
class Plan:
    """The options of `robustkit certify`, by their names."""

    model: ModelOptions
    sigma: float
    n: int
    n0: int
    alpha: float
    radii: tuple[float, ...]
    samples: Choice
    seed: int
    out: Path
    quiet: bool

    def __post_init__(self) -> None:
        if self.out.suffix in (".json", ".html"):
            raise ConfigurationError(
                f"--out: expected a name for the table, got '{self.out}', which model or page takes; such as mine.csv"
            )

    @property
    def model_file(self) -> Path:
        """Where the smoothed model is written."""
        return self.out.with_suffix(".json")


@dataclass(frozen=True)
class Row:
    """What is known of one sample; the fields are the columns of the table."""

    id: str | int
    label: int
    prediction: int
    radius: float
    votes: int
    seconds: float


class Radii(NamedTuple):
    """The certified accuracy at every radius, None beyond what can be proven: as a table and as numbers."""

    table: Table
    reached: list[tuple[float, Proportion | None]]
    notes: tuple[str, ...]


@click.command("certify", cls=Command, short_help="Prove radii by randomised smoothing.")
@model_options
@click.option("--sigma", type=float, default=0.25, show_default=True, help="Standard deviation of the noise.")
@click.option("--n", default=1000, show_default=True, help="Noisy copies of each sample; papers use 100000.")
@click.option("--n0", default=100, show_default=True, help="Noisy copies that choose the class.")
@click.option("--alpha", default=0.001, show_default=True, help="Probability, per sample, that a certificate is wrong.")
@click.option(
    "--radii", type=NUMBERS, default="0,0.25,0.5,0.75,1,1.25,1.5", show_default=True, help="L2 radii in the table."
)
@sample_options()
@click.option("--seed", default=0, show_default=True, help="Seed of the draw and of the noise.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("certify.csv"),
    show_default=True,
    help="Table with one row per sample; until it is complete they are in FILE.part.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
def command(**options: Any) -> None:
    """Certify MODEL under Gaussian noise (Cohen et al. 2019): the model should have been trained under the same noise.

    A sample counts at a radius if the vote under noise is correct, does not abstain, and is certified that far. Each
    certificate holds with probability 1 - alpha. The smoothed model is written beside the table, as FILE.json: audit it
    like any other. An audit attacks the mean probability over a few noisy copies, not the vote that is certified.

    \b
    Example:
      robustkit certify cnn --weights noisy.safetensors --data mnist \\
          --sigma 0.25 --n 100000 --limit 500
      robustkit audit certify.json --data mnist --norm L2 --eps 0.25
    """
    from robustkit.base.csv_table import csv_line
    from robustkit.base.write_file import written_in_steps
    from robustkit.cli.shared.progress import progress
    from robustkit.data.dataset import count_samples

    plan = Plan(**options)
    loaded = plan.model.load().only(plan.samples, plan.seed)
    rows: list[Row] = []
    with progress(plan.quiet) as bar, written_in_steps(plan.out) as add:
        for row in certified(plan, loaded):
            if not rows:
                add(csv_line(("id", "label", "prediction", "radius", "votes", "right", "seconds")))
            rows.append(row)
            right = row.prediction == row.label
            add(csv_line((row.id, row.label, row.prediction, row.radius, row.votes, right, f"{row.seconds:.3f}")))
            bar.count("certify", len(rows), count_samples(loaded.dataset), f"radius {row.radius:.3f}")
    shown = print_radii(plan, loaded.spec, rows)
    say_file(plan.out, "table")
    say_file(write_model(plan, loaded), "model")
    write_radii_page(plan, loaded.spec, shown)


def write_model(plan: Plan, loaded: ModelAndData) -> Path:
    """Writes the smoothed model as a composition that can be loaded wherever a model is named; returns its path."""
    from robustkit.data.dataset import batches
    from robustkit.loading.composed import Composition, write_composition

    part = loaded.part(next(batches(loaded.dataset, 1, 1)).x)
    settings = {"sigma": plan.sigma, "seed": plan.seed}
    return write_composition(plan.model_file, Composition(kind="smoothed", settings=settings, parts=(part,)))


def certified(plan: Plan, loaded: ModelAndData) -> Iterator[Row]:
    """Yields the certificate of every sample."""
    from robustkit.data.dataset import batches
    from robustkit.defenses.smoothing import Smoothed

    smoothed = Smoothed(loaded.classifier, plan.sigma, seed=plan.seed)
    settings: Any = {"n0": plan.n0, "n": plan.n, "alpha": plan.alpha, "batch_size": loaded.batch_size}
    for sample in batches(loaded.dataset, 1):
        start = time.perf_counter()
        found = smoothed.certify(sample.x, ids=sample.ids, **settings)
        yield Row(
            id=sample.names[0] if sample.names else int(sample.ids),
            label=int(sample.y),
            prediction=int(found.prediction),
            radius=float(found.radius),
            votes=int(found.votes),
            seconds=time.perf_counter() - start,
        )


def write_radii_page(plan: Plan, name: str, shown: Radii) -> None:
    """Writes the same as a page."""
    from robustkit.cli.shared.page import audit_command, write_page
    from robustkit.cli.shared.terminal import percent

    reached = [(radius, share) for radius, share in shown.reached if share]
    attacked = next((radius for radius, _ in reached if radius > 0), plan.sigma)
    audit = audit_command(plan.model, str(plan.model_file), "--norm", "L2", "--eps", f"{attacked:g}")
    write_page(
        plan.out.with_suffix(".html"),
        "Certified accuracy",
        f"{name}, smoothed with sigma {plan.sigma:g}",
        {f"Certified at L2 radius {radius:g}": percent(share.value) for radius, share in reached[:3]},
        {"Certified accuracy by radius": shown.table},
        shown.notes,
        [("Attack the smoothed model: an upper bound to hold beside these lower bounds.", audit)],
    )


def print_radii(plan: Plan, name: str, rows: list[Row]) -> Radii:
    """Prints the certified accuracy at every radius, and returns what was printed."""
    import torch

    from robustkit.cli.shared import terminal
    from robustkit.defenses.smoothing import ABSTAIN, Certificates, certified_accuracy, largest_radius

    predictions = torch.tensor([row.prediction for row in rows], device="cpu")
    radii = torch.tensor([row.radius for row in rows], dtype=torch.float64, device="cpu")
    certificates = Certificates(predictions, radii, torch.tensor([row.votes for row in rows], device="cpu"))
    shares = certified_accuracy(certificates, torch.tensor([row.label for row in rows], device="cpu"), plan.radii)
    most = largest_radius(plan.n, plan.sigma, plan.alpha)
    abstained = int((predictions == ABSTAIN).sum())
    reached = [(radius, share if radius <= most else None) for radius, share in zip(plan.radii, shares, strict=True)]
    answer(sigma=plan.sigma, n=plan.n, alpha=plan.alpha, samples=len(rows), abstained=abstained, largest_radius=most)
    answer(certified=[{"radius": radius, "accuracy": share} for radius, share in reached])
    console = terminal.out()
    table = terminal.plain_table("L2 radius", "certified accuracy, 95 % interval", "samples")
    table.columns[1].justify = "left"
    for radius, share in reached:
        if share:
            table.add_row(f"{radius:g}", terminal.accuracy(share), terminal.counts(share))
        else:
            table.add_row(f"{radius:g}", f"not reachable with n = {plan.n}")
    terminal.print_titled(console, f"{name} on {len(rows)} samples, sigma {plan.sigma:g}, n {plan.n}", table)
    notes = (
        f"abstained from {abstained}; each certificate may be wrong with probability {plan.alpha:g}",
        f"n = {plan.n} noisy copies can prove no more than {most:.3g}, where all of them agree",
    )
    for note in notes:
        console.print(f"  {note}")
    return Radii(table, reached, notes)
