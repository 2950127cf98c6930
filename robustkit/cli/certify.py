"""`robustkit certify`: the radius within which a smoothed classifier is proven, sample by sample."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from robustkit.cli.shared.model_and_data import Case
from robustkit.cli.shared.options import case_options
from robustkit.cli.shared.values import numbers


@click.command("certify", short_help="Prove radii by randomised smoothing.")
@case_options
@click.option("--sigma", type=float, default=0.25, show_default=True, help="Standard deviation of the noise.")
@click.option("--n", default=1000, show_default=True, help="Noisy copies of each sample; papers use 100000.")
@click.option("--n0", default=100, show_default=True, help="Noisy copies that choose the class.")
@click.option("--alpha", default=0.001, show_default=True, help="Chance, per sample, that a certificate is wrong.")
@click.option("--radii", default="0,0.25,0.5,0.75,1,1.25,1.5", show_default=True, help="L2 radii of the table.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many samples.")
@click.option("--seed", default=0, show_default=True, help="Seed of the noise.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("certify.csv"),
    show_default=True,
    help="Table with one row per sample; until it is complete they are in FILE.part.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    load: Callable[[], Case],
    sigma: float,
    n: int,
    n0: int,
    alpha: float,
    radii: str,
    limit: int | None,
    seed: int,
    out: Path,
    quiet: bool,
) -> None:
    """Certify MODEL under Gaussian noise (Cohen et al. 2019): the model should have been trained under the same noise.

    A sample counts at a radius if the vote under noise is right, not abstained from, and proven that far. Each
    certificate holds with probability 1 - alpha.

    \b
    Example:
      robustkit certify cnn --weights noisy.safetensors --data mnist --sigma 0.25 --n 100000 --limit 500
    """
    import torch
    from rich.table import Table

    from robustkit.base.csv_table import csv_line
    from robustkit.base.write_file import written_in_steps
    from robustkit.cli.shared import screen
    from robustkit.data.dataset import batches
    from robustkit.defenses.smoothing import ABSTAIN, Certificates, Smoothed, certified_accuracy

    steps = numbers("radii", radii) or ()
    case = load()
    smoothed = Smoothed(case.classifier, sigma, seed=seed)
    rows: list[tuple[int, int, float, int]] = []
    with screen.progress(quiet) as bar, written_in_steps(out) as add:
        for sample in batches(case.dataset, 1, limit):
            start = time.perf_counter()
            found = smoothed.certify(sample.x, ids=sample.ids, n0=n0, n=n, alpha=alpha, batch_size=case.batch_size)
            label, answer = int(sample.y), int(found.prediction)
            if not rows:
                add(csv_line(("id", "label", "prediction", "radius", "votes", "right", "seconds")))
            rows.append((label, answer, float(found.radius), int(found.votes)))
            name = sample.names[0] if sample.names else int(sample.ids)
            seconds = f"{time.perf_counter() - start:.3f}"
            add(csv_line((name, label, answer, float(found.radius), int(found.votes), answer == label, seconds)))
            bar.count("certify", len(rows), limit, f"radius {float(found.radius):.3f}")
    labels, answers, proven, votes = (torch.tensor(column) for column in zip(*rows, strict=True))
    shares = certified_accuracy(Certificates(answers, proven.double(), votes), labels, steps)
    view = Table(box=None, padding=(0, 2), header_style="dim", title_justify="left", title_style="bold")
    view.title = f"{case.spec} on {len(rows)} samples, sigma {sigma:g}, n {n}"
    for heading in ("L2 radius", "certified accuracy, 95 % interval", "samples"):
        view.add_column(heading, justify="right" if heading != "certified accuracy, 95 % interval" else "left")
    for radius, share in zip(steps, shares, strict=True):
        view.add_row(f"{radius:g}", screen.share(share), f"{share.k} of {share.n}")
    console = screen.out()
    console.print(view)
    console.print(
        f"  abstained from {int((answers == ABSTAIN).sum())}; each certificate may be wrong with chance {alpha:g}"
    )
    click.echo(f"  table {out}")
