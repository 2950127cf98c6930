"""`robustkit audit`: from a model and data to a report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import click

from robustkit.cli.options import Case, case_options

DEFAULT_ATTACKS = ("noise", "fgsm", "pgd", "pgd:loss=margin")


@click.command("audit", short_help="Measure a model and write the report.")
@case_options
@click.option("--norm", default="Linf", show_default=True, help="Linf, L2 or L1.")
@click.option("--eps", default="8/255", show_default=True, help="Budget in input units, a number or a fraction.")
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    metavar="NAME[:SETTING=VALUE,...]",
    help=f"May be repeated; see `robustkit attacks`.  [default: {' '.join(DEFAULT_ATTACKS)}]",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many samples.")
@click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--expected-clean-accuracy", type=float, help="Stop unless the clean accuracy agrees, such as 0.938.")
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
    load: Callable[[], Case],
    norm: str,
    eps: str,
    attacks: tuple[str, ...],
    limit: int | None,
    seed: int,
    expected_clean_accuracy: float | None,
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
          --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
    """
    from robustkit.attacks import create
    from robustkit.cli import screen
    from robustkit.cli.files import check_folder, write_report
    from robustkit.evaluator import evaluate
    from robustkit.report.build import build_audit

    check_folder(out)
    chosen = [create(spec, norm=norm, eps=eps) for spec in attacks or DEFAULT_ATTACKS]
    case = load()
    with screen.progress(quiet) as bar:
        evaluation = evaluate(
            case.classifier,
            case.dataset,
            chosen,
            batch_size=case.batch_size,
            limit=limit,
            seed=seed,
            expected_clean_accuracy=expected_clean_accuracy,
            progress=bar.evaluation(),
        )
    title = name or case.spec
    audit = build_audit(evaluation, case.classifier, name=title, source=case.spec, weights=case.weights, limit=limit)
    typed = shlex.join(["robustkit", *sys.argv[1:]])
    write_report(out, [audit], {"ledger.csv": evaluation.ledger.to_csv()}, title, typed, seed)
    console = screen.out()
    console.print(screen.audit_table(audit))
    console.print(screen.audit_notes(audit))
    click.echo(f"  report {out / 'report.html'}")
    if audit.verdict.quality in ("unreliable", "invalid"):
        failed = ", ".join(item.id for item in audit.diagnostics if item.status == "fail")
        click.echo(f"robustkit: the evaluation is {audit.verdict.quality}: {failed} failed", err=True)
        return 3
    return 0
