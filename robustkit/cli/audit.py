"""`robustkit audit`: from a model and data to a report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from robustkit.cli.checks import in_eval_mode, load_tuning, probe_options, tuning_option
from robustkit.cli.options import Case, attack_options, case_options, fraction, seconds
from robustkit.errors import ConfigurationError

DEFAULT_PROTOCOL = "fast"


@click.command("audit", short_help="Measure a model and write the report.")
@case_options
@attack_options("Instead of a protocol; may be repeated; see `robustkit attacks`.")
@click.option(
    "--protocol",
    help=f"autoattack, autoattack-plus, autoattack-rand or fast  [default without --attack: {DEFAULT_PROTOCOL}]",
)
@click.option("--strict", is_flag=True, help="Refuse a protocol that would have to be adapted to the model.")
@click.option("--surrogate", metavar="MODEL", help="Also carry over what breaks this model, given like MODEL.")
@click.option("--surrogate-weights", type=click.Path(path_type=Path), help="Its weights.")
@click.option("--curve", metavar="EPS,EPS,...", help="Robust accuracy at these radii, too.")
@click.option("--nearest", is_flag=True, help="The distance of the nearest adversarial input of every sample, too.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many samples.")
@click.option("--until", metavar="SHARE", help="Stop when the robust accuracy is known to, say, 2%; in random order.")
@click.option("--budget", metavar="TIME", help="Stop after, say, 10m; in random order.")
@click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--expected-clean-accuracy", type=float, help="Stop unless the clean accuracy agrees, such as 0.938.")
@probe_options
@tuning_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("robustkit-report"),
    show_default=True,
    help="Folder for report.json, report.html, report.md and ledger.csv.",
)
@click.option("--name", help="What to call the model  [default: MODEL]")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    load: Callable[..., Case],
    norm: Any,
    eps: str,
    attacks: tuple[str, ...],
    protocol: str | None,
    strict: bool,
    surrogate: str | None,
    surrogate_weights: Path | None,
    curve: str | None,
    nearest: bool,
    limit: int | None,
    until: str | None,
    budget: str | None,
    seed: int,
    expected_clean_accuracy: float | None,
    probes: int,
    tuning: str | None,
    out: Path,
    name: str | None,
    quiet: bool,
) -> int:
    """Measure clean and robust accuracy and calibration of MODEL, and write the report.

    MODEL is package.module:factory, torchvision:NAME, a TorchScript or torch.export file (with --trust-checkpoint), or
    a small model by name: mlp, cnn, lenet, strided, lstm, preact_resnet18, wideresnet, vit.

    \b
    Example:
      robustkit audit torchvision:resnet18 --weights resnet18.safetensors \\
          --data ~/imagenet/val --image-size 224 --eps 4/255 --limit 1000 \\
          --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --protocol autoattack
    """
    from robustkit.attacks import FMN, Transfer, create
    from robustkit.cli import screen
    from robustkit.cli.files import check_folder, write_report
    from robustkit.curve import minimal_distances, security_curve
    from robustkit.diagnostics import reasons
    from robustkit.evaluator import evaluate
    from robustkit.protocols import custom, get_protocol
    from robustkit.report.build import build_audit

    if protocol and attacks:
        raise ConfigurationError("audit: expected --protocol or --attack, got both; a protocol fixes its attacks")
    check_folder(out)
    half_width, time = fraction("until", until), seconds("budget", budget)
    chosen = custom([create(spec, norm=norm, eps=eps) for spec in attacks])
    case = in_eval_mode(load())
    if not attacks:
        named = protocol or DEFAULT_PROTOCOL
        chosen = get_protocol(named, norm=norm, eps=eps, classes=case.count_classes(), strict=strict)
    if surrogate:
        other = load(model=surrogate, weights=surrogate_weights).classifier
        chosen = chosen.plus(Transfer(surrogate=other, norm=norm, eps=eps))
    drawn = nearest_found = None
    with screen.progress(quiet) as bar:
        evaluation = evaluate(
            case.classifier,
            case.dataset,
            chosen,
            batch_size=case.batch_size,
            limit=limit,
            seed=seed,
            expected_clean_accuracy=expected_clean_accuracy,
            until=half_width,
            budget=time,
            progress=bar.evaluation(),
            probes=probes,
            tuning=load_tuning(load, tuning),
        )
        # Where the run stopped early, the extras are content with as many samples.
        common = {"batch_size": case.batch_size, "limit": len(evaluation.ledger), "seed": seed}
        if curve:
            show = bar.evaluation("curve")
            drawn = security_curve(case.classifier, case.dataset, chosen, curve.split(","), progress=show, **common)
        if nearest:
            search = [FMN(norm=norm, eps="inf")]
            nearest_found = minimal_distances(case.classifier, case.dataset, search, **common)
    title = name or case.spec
    audit = build_audit(
        evaluation,
        case.classifier,
        name=title,
        source=case.spec,
        weights=case.weights,
        limit=limit,
        curve=drawn or evaluation.curve,
        distances=nearest_found,
    )
    typed = shlex.join(["robustkit", *sys.argv[1:]])
    write_report(out, [audit], {"ledger.csv": evaluation.ledger.to_csv()}, title, typed, seed)
    console = screen.out()
    console.print(screen.audit_table(audit))
    console.print(screen.audit_notes(audit))
    click.echo(f"  report {out / 'report.html'}")
    if audit.verdict.quality in ("unreliable", "invalid"):
        why = ", ".join(f"{item.id} {item.status} ({item.title})" for item in reasons(audit.diagnostics))
        click.echo(f"robustkit: the evaluation is {audit.verdict.quality}: {why}", err=True)
        return 3
    return 0
