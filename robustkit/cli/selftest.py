"""`robustkit selftest`: do the attacks find what is known to be there, and nothing else?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from robustkit.cli.shared.model_and_data import Case
from robustkit.cli.shared.options import attack_options, optional_case_options

DEFAULT_ATTACKS = ("pgd", "pgd:loss=margin")


@click.command("selftest", short_help="Prove that the attacks find what is there.")
@optional_case_options
@attack_options(
    f"May be repeated  [default: every attack in every norm; on MODEL {' '.join(DEFAULT_ATTACKS)}]",
    norm="Linf, L2 or L1, of --attack and on MODEL.",
    eps="Budget in input units, likewise.",
)
@click.option("--samples", type=click.IntRange(1), default=12, show_default=True, help="Of MODEL's data to plant in.")
@click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    load: Callable[[], Case] | None,
    norm: str,
    eps: str,
    attacks: tuple[str, ...],
    samples: int,
    seed: int,
    quiet: bool,
) -> int:
    """Check that attacks find adversarial inputs that are known to exist, and none that cannot exist.

    Without MODEL: on linear models, where the distance to the nearest adversarial input is a formula. With MODEL and
    --data also on MODEL itself, where one adversarial input per sample is planted. An attack that misses it is too
    weak for this model, or the model hides its gradient: an audit with it would call MODEL robust for the wrong reason.

    \b
    Examples:
      robustkit selftest
      robustkit selftest mypackage.models:resnet --weights resnet.safetensors --data images.npz \\
          --attack pgd:steps=40 --eps 4/255
    """
    from robustkit.attacks import create
    from robustkit.cli.shared import screen
    from robustkit.data.dataset import batches
    from robustkit.evaluation.attack_run import labels
    from robustkit.probes.closed_form import Finding, check_attack, typical_attacks
    from robustkit.probes.planted import planted

    chosen = [create(spec, norm=norm, eps=eps) for spec in attacks or DEFAULT_ATTACKS]
    names = labels(chosen)
    tested = list(zip(names, chosen, strict=True)) if attacks else [(a.label, a) for a in typical_attacks()]
    case = load() if load else None
    found: list[tuple[str, Finding]] = []
    result = None
    total = len(tested) + (case is not None)
    with screen.progress(quiet) as bar:
        with _one_thread():
            for name, attack in tested:
                bar.count(f"{name} {attack.norm}", len(found), total)
                found.append((name, check_attack(attack, seed)))
        if case:
            bar.count("planted inputs", len(found), total)
            batch = next(iter(batches(case.dataset, 16 * samples)))
            result = planted(
                case.classifier, batch.x, batch.y, chosen, samples, seed, batch.ids, batch_size=case.batch_size
            )
    console = screen.out()
    console.print("Linear models, where the distance to the nearest adversarial input is known", style="bold")
    console.print(screen.findings_table(found))
    failed = [f"{name} {item.attack.norm}" for name, item in found if item.verdict != "pass"]
    if case and result:
        title = f"{case.spec} on {case.dataset.name}, {norm} {eps}: one adversarial input planted per sample"
        console.print(f"\n{title}", style="bold", markup=False)
        console.print(screen.planted_table(result))
        if result.verdict != "pass":
            failed.append(f"planted inputs in {case.spec} ({result.diagnostic.message})")
    if failed:
        click.echo(f"robustkit: selftest: not passed: {', '.join(failed)}", err=True)
        return 3
    return 0


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
