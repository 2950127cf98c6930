"""`robustkit plan`: how many samples a question needs, and what they will cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.model_and_data import ModelOptions
from robustkit.cli.shared.offered import NORM, PROTOCOL
from robustkit.cli.shared.option_types import FRACTION, TIME
from robustkit.cli.shared.options import REQUIRE, optional_model_options

if TYPE_CHECKING:
    from rich.console import Console

    from robustkit.cost import Probe
    from robustkit.maths.norms import Norm
    from robustkit.report.requirements.gates import Requirement

HALF_WIDTH = 0.02
EXPECTED = (0.5, 0.3, 0.1)
DISCORDANCES = (0.05, 0.1, 0.2)
Row = dict[str, Any]  # of a table, by the names in the JSON


@dataclass(frozen=True)
class Question:
    """The options of `robustkit plan`, by their names."""

    model: ModelOptions | None
    half_width: float | None
    expect: tuple[float, ...]
    per_class: int | None
    requirements: tuple[Requirement, ...]
    difference: float | None
    discordance: tuple[float, ...]
    power: float
    protocol: str
    eps: str
    norm: Norm
    probe: float

    @property
    def expected(self) -> tuple[float, ...]:
        """The accuracies to reckon with."""
        return self.expect or EXPECTED

    @property
    def wants_interval(self) -> bool:
        """Whether an interval was asked for, or nothing at all."""
        return self.half_width is not None or not (self.requirements or self.difference is not None)


@click.command("plan", cls=Command, short_help="How many samples a question needs, and what they cost.")
@optional_model_options
@click.option("--half-width", type=FRACTION, help="Wanted interval to either side, such as 2%.  [default: 2%]")
@click.option(
    "--expect", multiple=True, type=FRACTION, help="Expected accuracy; may be repeated  [default: 50%, 30%, 10%]"
)
@click.option("--per-class", type=click.IntRange(2), metavar="K", help="The same for each of K classes.")
@REQUIRE
@click.option(
    "--difference", type=FRACTION, help="Difference of two models to be seen on the same samples, such as 2%."
)
@click.option(
    "--discordance",
    multiple=True,
    type=FRACTION,
    help="Fraction that only one of them classifies correctly  [default: 5%, 10%, 20%]",
)
@click.option("--power", type=FRACTION, default="80%", show_default=True, help="Probability to see the difference.")
@click.option(
    "--protocol", type=PROTOCOL, default="fast", show_default=True, help="With MODEL: the attacks to be timed."
)
@click.option("--eps", default="8/255", show_default=True, help="With MODEL: their perturbation radius.")
@click.option("--norm", type=NORM, default="Linf", show_default=True, help="With MODEL: Linf, L2 or L1.")
@click.option("--probe", type=TIME, default="20s", show_default=True, help="With MODEL: how long to try.")
def command(**options: Any) -> None:
    """Say how many samples give an interval, decide a requirement or tell two models apart.

    With MODEL and --data, a short timed run of the protocol also says what they cost on this machine.

    \b
    Examples:
      robustkit plan --half-width 2% --per-class 10
      robustkit plan --require "robust_accuracy>=0.45" --expect 48%
      robustkit plan --difference 2% --discordance 10%
      robustkit plan cnn --data digits --eps 0.1 --half-width 3%
    """
    from robustkit.cli.shared import terminal

    question = Question(**options)
    check(question)
    measured = probe_cost(question)
    console, found = terminal.out(), dict[str, list[Row]]()
    if question.wants_interval:
        found["interval"] = print_interval(console, question)
    if question.requirements:
        each = [print_requirement(console, question, requirement) for requirement in question.requirements]
        found["requirements"] = [row for rows in each for row in rows]
    if question.difference is not None:
        found["difference"] = print_difference(console, question, question.difference)
    if measured:
        sizes = sorted({row["samples"] for rows in found.values() for row in rows if row["samples"]})
        what = f"{question.protocol}, {question.norm} {question.eps}"
        found["cost"] = print_cost(console, measured, sizes, what)
    answer(found)


def check(question: Question) -> None:
    """Raises ConfigurationError for a requirement whose interval no formula knows beforehand."""
    from robustkit.report.requirements.measures import FIGURES

    if any(requirement.name.startswith(FIGURES) for requirement in question.requirements):
        raise ConfigurationError(
            "plan: expected requirements on accuracies, got one on calibration; audit some samples first"
        )


def probe_cost(question: Question) -> Probe | None:
    """Returns what some samples of the model's data cost, None without a model."""
    if question.model is None:
        return None
    from robustkit.attacks.protocols import get_protocol
    from robustkit.cost import probe

    loaded = question.model.load()
    protocol = get_protocol(question.protocol, norm=question.norm, eps=question.eps, classes=loaded.count_classes())
    return probe(loaded.classifier, loaded.dataset, protocol, seconds=question.probe, batch_size=loaded.batch_size)


def print_interval(console: Console, question: Question) -> list[Row]:
    """Prints how many samples give an interval of the wanted width, and returns the rows."""
    from robustkit.cli.shared.terminal import plain_table, print_titled
    from robustkit.maths.sample_size import samples_for_half_width

    half = HALF_WIDTH if question.half_width is None else question.half_width
    classes = question.per_class
    table = plain_table("expected", "Wilson", "Clopper-Pearson", *([f"{classes} classes"] if classes else []))
    rows = []
    for share in question.expected:
        wilson = samples_for_half_width(half, share)
        exact = samples_for_half_width(half, share, "clopper-pearson")
        rows.append(row := {"expected": share, "wilson": wilson, "clopper_pearson": exact})
        row["samples"] = wilson * (classes or 1)
        table.add_row(_percent(share), f"{wilson:,}", f"{exact:,}", *([f"{row['samples']:,}"] if classes else []))
    print_titled(console, f"Samples for an interval of {_percent(half)} to either side, 95 %", table)
    return rows


def print_requirement(console: Console, question: Question, requirement: Requirement) -> list[Row]:
    """Prints how many samples decide a requirement, and returns the rows."""
    from robustkit.cli.shared.terminal import plain_table, print_titled
    from robustkit.maths.sample_size import samples_to_decide

    table = plain_table("expected", "samples", "answer")
    rows = []
    for share in question.expected:
        needed = samples_to_decide(share, requirement.limit, requirement.at_least)
        met = "met" if (share > requirement.limit) == requirement.at_least else "not met"
        decision = met if needed else "undecided"
        rows.append({"rule": requirement.rule, "expected": share, "samples": needed, "decision": decision})
        table.add_row(_percent(share), f"{needed:,}" if needed else "no number", decision)
    print_titled(console, f"Samples that decide {requirement.rule}, if the accuracy is as expected", table)
    return rows


def print_difference(console: Console, question: Question, difference: float) -> list[Row]:
    """Prints how many samples tell two models apart, and returns the rows."""
    from robustkit.cli.shared.terminal import plain_table, print_titled
    from robustkit.maths.sample_size import samples_for_mcnemar

    table = plain_table("only one is correct on", "samples")
    rows = []
    for share in question.discordance or [share for share in DISCORDANCES if share >= difference]:
        samples = samples_for_mcnemar(difference, share, question.power)
        rows.append({"discordance": share, "samples": samples})
        table.add_row(_percent(share), f"{samples:,}")
    title = f"Samples to see a difference of {_percent(difference)} with power {_percent(question.power)}"
    print_titled(console, title, table)
    return rows


def print_cost(console: Console, measured: Probe, sizes: list[int], what: str) -> list[Row]:
    """Prints what so many samples cost, judging by those that were measured, and returns the rows."""
    from robustkit.cli.shared.terminal import plain_table, print_titled
    from robustkit.report.text import words

    table = plain_table("samples", "forward passes", "backward passes", "time")
    rows = []
    for n in sizes:
        forwards, backwards, time = measured.forecast(n)
        rows.append({"samples": n, "forward_passes": forwards, "backward_passes": backwards, "seconds": time})
        table.add_row(f"{n:,}", f"{forwards:,}", f"{backwards:,}", words.duration(time))
    title = f"Cost of {what} on this machine, from {measured.n} samples in {measured.seconds:.1f} s"
    print_titled(console, title, table)
    console.print(f"  robust so far {measured.robust}; larger batches take less time a sample", style="dim")
    return rows


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
