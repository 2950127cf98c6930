"""`robustkit selftest`: do the attacks find what is known to be there, and nothing else?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from robustkit.base.exit_codes import ExitCode
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.model_and_data import ModelOptions
from robustkit.cli.shared.options import attack_options, optional_model_options

if TYPE_CHECKING:
    from rich.table import Table

    from robustkit.attacks import Attack
    from robustkit.cli.shared.model_and_data import ModelAndData
    from robustkit.cli.shared.progress import Bar
    from robustkit.probes.closed_form import Finding
    from robustkit.probes.planted_examples import Planted

DEFAULT_ATTACKS = ("pgd", "pgd:loss=margin")


@click.command("selftest", cls=Command, short_help="Prove that the attacks find known adversarial examples.")
@optional_model_options
@attack_options(
    f"May be repeated  [default: every attack in every norm; on MODEL {' '.join(DEFAULT_ATTACKS)}]",
    norm="Linf, L2 or L1, of --attack and on MODEL.",
    eps="Perturbation radius in input units, likewise.",
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=12,
    show_default=True,
    help="Samples of MODEL's data to plant adversarial examples near.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    model: ModelOptions | None, norm: Any, eps: str, attacks: tuple[str, ...], samples: int, seed: int, quiet: bool
) -> ExitCode:
    """Check that attacks find adversarial examples that are known to exist, and none that cannot exist.

    Without MODEL: on linear models, whose minimal adversarial perturbation is a formula. With MODEL and --data also on
    MODEL itself, with one planted adversarial example per sample (Zimmermann et al. 2022). An attack that misses it is
    too weak for this model, or the model masks its gradient: an audit with it would call MODEL robust for the wrong
    reason.

    \b
    Examples:
      robustkit selftest
      robustkit selftest mypackage.models:resnet \\
          --weights resnet.safetensors --data images.npz \\
          --attack pgd:steps=40 --eps 4/255
    """
    from robustkit.attacks import create
    from robustkit.attacks.names import labels
    from robustkit.attacks.radius import refuse_grey_levels
    from robustkit.cli.shared import terminal
    from robustkit.cli.shared.progress import progress
    from robustkit.probes.closed_form import typical_attacks

    chosen = [create(spec, norm=norm, eps=eps) for spec in attacks or DEFAULT_ATTACKS]
    named = list(zip(labels(chosen), chosen, strict=True)) if attacks else [(a.label, a) for a in typical_attacks()]
    loaded = model.load() if model else None
    if loaded:
        refuse_grey_levels(eps, loaded.classifier.bounds)
    with progress(quiet) as bar:
        found = on_linear_models(named, seed, bar)
        planted = on_model(loaded, chosen, samples, seed, bar) if loaded else None
    console = terminal.out()
    title = "Linear models, whose minimal adversarial perturbation is known"
    terminal.print_titled(console, title, findings_table(found))
    failed = [f"{name} {item.attack.norm}" for name, item in found if item.verdict != "pass"]
    answer(
        linear_models=[
            {
                "name": name,
                "norm": item.attack.norm,
                "required": item.required,
                "reach": item.reach,
                "outside": item.outside,
                "inside": item.inside,
                "verdict": item.verdict,
            }
            for name, item in found
        ]
    )
    if loaded and planted:
        title = f"{loaded.spec} on {loaded.dataset.name}, {norm} {eps}: one planted adversarial example per sample"
        answer(
            planted={
                "by_attack": planted.by_attack,
                "together": planted.success,
                "random_search": planted.random,
                "check": planted.diagnostic,
            }
        )
        console.print()
        terminal.print_titled(console, title, planted_table(planted))
        if planted.verdict != "pass":
            failed.append(f"planted adversarial examples in {loaded.spec} ({planted.diagnostic.message})")
    answer(failed=failed)
    if not failed:
        return ExitCode.OK
    say(f"robustkit: selftest: not passed: {', '.join(failed)}", err=True)
    return ExitCode.UNRELIABLE


def on_linear_models(attacks: Sequence[tuple[str, Attack]], seed: int, bar: Bar) -> list[tuple[str, Finding]]:
    """Returns what every attack finds where the distance to the boundary is a formula."""
    from robustkit.probes.closed_form import check_attack

    found: list[tuple[str, Finding]] = []
    with _one_thread():
        for name, attack in attacks:
            bar.count(f"{name} {attack.norm}", len(found), len(attacks))
            found.append((name, check_attack(attack, seed)))
    return found


def on_model(loaded: ModelAndData, attacks: Sequence[Attack], samples: int, seed: int, bar: Bar) -> Planted:
    """Returns how many adversarial examples planted in a model the attacks find."""
    from robustkit.data.dataset import batches
    from robustkit.probes.planted_examples import planted

    bar.count("planted adversarial examples", 0, None)
    batch = next(iter(batches(loaded.dataset, 16 * samples)))
    size = loaded.batch_size
    return planted(loaded.classifier, batch.x, batch.y, attacks, samples, seed, batch.ids, batch_size=size)


def findings_table(found: Sequence[tuple[str, Finding]]) -> Table:
    """Returns what attacks, each with its name, found on the linear models."""
    from rich.text import Text

    from robustkit.cli.shared.terminal import counts, plain_table, status

    # Narrower than the other tables, so that the names of foolbox fit into 80 columns.
    columns = ("attack", "norm", "found outside", "inside", "outcome")
    table = plain_table(*columns, left=[column for column in columns if column != "inside"], narrow=True)
    table.columns[0].overflow = "fold"
    for name, item in found:
        where = f" at {item.reach:g}x" if item.required else ", optional"
        outside = Text.assemble(f"{counts(item.outside):>8}", (where, "dim"))
        table.add_row(Text(name), item.attack.norm, outside, counts(item.inside), status(item.verdict))
    return table


def planted_table(result: Planted) -> Table:
    """Returns how many planted adversarial examples each attack found, all of them together, and random search."""
    from rich.text import Text

    from robustkit.cli.shared.terminal import counts, plain_table, status

    table = plain_table("attack", "planted examples found", "outcome", left=["attack", "outcome"], narrow=True)
    table.columns[0].overflow = "fold"
    for name, hits in result.by_attack.items():
        table.add_row(Text(name), counts(hits), "")
    table.add_row(Text("together", style="bold"), counts(result.success), status(result.verdict))
    table.add_row(Text("random search", style="dim"), counts(result.random), "")
    return table


@contextmanager
def _one_thread() -> Iterator[None]:
    """Context for models so small that sharing their work out takes longer than doing it."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
