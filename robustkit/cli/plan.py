"""`robustkit plan`: how many samples a question needs, and what they will cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.gate import REQUIRE
from robustkit.cli.shared.model_and_data import Case
from robustkit.cli.shared.options import optional_case_options
from robustkit.cli.shared.values import fraction, seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from robustkit.cost import Probe

DISCORDANCES = ("5%", "10%", "20%")


@click.command("plan", short_help="How many samples a question needs, and what they cost.")
@optional_case_options
@click.option("--half-width", metavar="SHARE", help="Wanted interval to either side, such as 2%.  [default: 2%]")
@click.option(
    "--expect", multiple=True, metavar="SHARE", help="Expected accuracy; may be repeated  [default: 50%, 30%, 10%]"
)
@click.option("--per-class", type=click.IntRange(2), metavar="K", help="The same for each of K classes.")
@REQUIRE
@click.option(
    "--difference", metavar="SHARE", help="Difference of two models to be seen on the same samples, such as 2%."
)
@click.option(
    "--discordance", multiple=True, metavar="SHARE", help="Share only one of them has right  [default: 5%, 10%, 20%]"
)
@click.option("--power", default="80%", show_default=True, metavar="SHARE", help="Probability to see the difference.")
@click.option("--protocol", default="fast", show_default=True, help="With MODEL: the attacks to be paid for.")
@click.option("--eps", default="8/255", show_default=True, help="With MODEL: their budget.")
@click.option("--norm", default="Linf", show_default=True, help="With MODEL: Linf, L2 or L1.")
@click.option("--probe", "time", default="20s", show_default=True, metavar="TIME", help="With MODEL: how long to try.")
def command(
    load: Callable[..., Case] | None,
    half_width: str | None,
    expect: tuple[str, ...],
    per_class: int | None,
    rules: tuple[str, ...],
    difference: str | None,
    discordance: tuple[str, ...],
    power: str,
    protocol: str,
    eps: str,
    norm: Any,
    time: str,
) -> None:
    """Say how many samples give an interval, decide a requirement or tell two models apart.

    With MODEL and --data, a short timed run of the protocol also says what they cost on this machine.

    \b
    Example:
      robustkit plan --half-width 2% --per-class 10
      robustkit plan --require "robust_accuracy>=0.45" --expect 48%
      robustkit plan --difference 2% --discordance 10%
      robustkit plan cnn --data digits --eps 0.1 --half-width 3%
    """
    from robustkit.cli.shared import screen
    from robustkit.maths.sample_size import samples_for_half_width, samples_for_mcnemar, samples_to_decide
    from robustkit.report.requirements.gates import Requirement
    from robustkit.report.requirements.measures import FIGURES

    requirements = [Requirement.parse(rule) for rule in rules]
    if any(requirement.name.startswith(FIGURES) for requirement in requirements):
        raise ConfigurationError(
            "plan: expected requirements on shares, got one on calibration; audit some samples first"
        )
    measured = None
    if load is not None:
        measured = _probe(load(), protocol, norm, eps, seconds("probe", time))
    shares = [_share("expect", text) for text in expect or ("50%", "30%", "10%")]
    console = screen.out()
    sizes: list[int] = []
    if half_width or not (rules or difference):
        half = _share("half-width", half_width or "2%")
        table = screen.plain_table(f"Samples for an interval of {_percent(half)} to either side, 95 %")
        columns = ("expected", "Wilson", "Clopper-Pearson", *((f"{per_class} classes",) if per_class else ()))
        for column in columns:
            table.add_column(column, justify="right")
        for share in shares:
            wilson = samples_for_half_width(half, share)
            sizes.append(wilson * (per_class or 1))
            exact = samples_for_half_width(half, share, "clopper-pearson")
            each = [f"{per_class * wilson:,}"] if per_class else []
            table.add_row(_percent(share), f"{wilson:,}", f"{exact:,}", *each)
        _print(console, table)
    for requirement in requirements:
        table = screen.plain_table(f"Samples that decide {requirement.rule}, if the share seen is as expected")
        for column in ("expected", "samples", "answer"):
            table.add_column(column, justify="right")
        for share in shares:
            needed = samples_to_decide(share, requirement.limit, requirement.at_least)
            answer = "met" if (share > requirement.limit) == requirement.at_least else "not met"
            sizes += [needed] if needed else []
            table.add_row(_percent(share), f"{needed:,}" if needed else "no number", answer if needed else "undecided")
        _print(console, table)
    if difference:
        seen, wanted = _share("difference", difference), _share("power", power)
        table = screen.plain_table(f"Samples to see a difference of {_percent(seen)} with power {_percent(wanted)}")
        table.add_column("only one is right on", justify="right")
        table.add_column("samples", justify="right")
        for share in (_share("discordance", text) for text in discordance or DISCORDANCES):
            if discordance or share >= seen:
                sizes.append(samples_for_mcnemar(seen, share, wanted))
                table.add_row(_percent(share), f"{sizes[-1]:,}")
        _print(console, table)
    if measured:
        _costs(console, measured, sorted({*sizes}), f"{protocol}, {norm} {eps}")


def _probe(case: Case, protocol: str, norm: Any, eps: str, time: float | None) -> Probe:
    from robustkit.attacks.protocols import get_protocol
    from robustkit.cost import probe

    attacks = get_protocol(protocol, norm=norm, eps=eps, classes=case.count_classes())
    return probe(case.classifier, case.dataset, attacks, seconds=time or 20.0, batch_size=case.batch_size)


def _costs(console: Console, measured: Probe, sizes: list[int], what: str) -> None:
    from robustkit.cli.shared import screen
    from robustkit.report.text import words

    table = screen.plain_table(f"Cost of {what} on this machine, from {measured.n} samples in {measured.seconds:.1f} s")
    for column in ("samples", "forward passes", "backward passes", "time"):
        table.add_column(column, justify="right")
    for n in sizes:
        forwards, backwards, time = measured.forecast(n)
        table.add_row(f"{n:,}", f"{forwards:,}", f"{backwards:,}", words.duration(time))
    _print(console, table)
    console.print(f"  robust so far {measured.robust}; larger batches take less time a sample", style="dim")


def _print(console: Console, table: Table) -> None:
    """Prints the title on a line of its own, because rich wraps a title to the width of its table."""
    title, table.title = table.title, None
    console.print(title)
    console.print(table)


def _share(name: str, text: str) -> float:
    value = fraction(name, text)
    assert value is not None
    return value


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
