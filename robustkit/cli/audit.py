"""`robustkit audit`: from a model and data to a report."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.gate import REQUIRE, complain
from robustkit.cli.shared.evaluation_options import in_eval_mode, load_tuning, probe_options, tuning_option
from robustkit.cli.shared.model_and_data import Case
from robustkit.cli.shared.options import attack_options, case_options
from robustkit.cli.shared.values import fraction, seconds

DEFAULT_PROTOCOL = "fast"
MEMBERS = 500  # samples on which the members of an ensemble are looked at one by one


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
@REQUIRE
@click.option("--groups", type=click.Path(path_type=Path), help="CSV of id, cluster and slices; accuracy by slice.")
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
    help="Folder for the report and its evidence, a bundle that `robustkit verify` checks, or for what is kept of a"
    " shard  [default: robustkit-report, or robustkit-shard-I-of-N]",
)
@click.option("--archive", is_flag=True, help="Also write the bundle as one file, OUT.zip.")
@click.option("--no-evidence", is_flag=True, help="Leave the adversarial inputs out, for huge data.")
@click.option("--shard", metavar="I/N", help="Do one of N shares only; see `robustkit merge`.")
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted.")
@click.option("--finished", multiple=True, type=click.Path(path_type=Path), hidden=True)
@click.option("--name", help="What to call the model  [default: MODEL]")
@click.option("--about", type=click.Path(path_type=Path), help="TOML file: purpose, harm, auditor, [signoff], ...")
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
    rules: tuple[str, ...],
    groups: Path | None,
    limit: int | None,
    until: str | None,
    budget: str | None,
    seed: int,
    expected_clean_accuracy: float | None,
    probes: int,
    tuning: str | None,
    out: Path,
    archive: bool,
    no_evidence: bool,
    shard: str | None,
    resume: bool,
    finished: tuple[Path, ...],
    name: str | None,
    about: Path | None,
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
      torchrun --nproc-per-node 4 -m robustkit audit cnn --weights cnn.safetensors --data mnist
    """
    from robustkit.attacks import FMN, PGD, Transfer, create
    from robustkit.attacks.protocols import custom, get_protocol
    from robustkit.base.processes import ranks
    from robustkit.cli.gate import gates_table
    from robustkit.cli.shared import samples, screen
    from robustkit.cli.shared.recorded import as_named
    from robustkit.cli.shared.report_files import check_folder, check_out, write_report
    from robustkit.cli.shared.shards import keeping, place_of, read_shard, typed, write_shard
    from robustkit.data.labels import names_of_classes
    from robustkit.defenses import Ensemble
    from robustkit.evaluation.attack_run import labels
    from robustkit.evaluation.checkpoint import discard
    from robustkit.evaluation.curve import minimal_distances, security_curve
    from robustkit.evaluation.members import members_of
    from robustkit.evaluation.slices import read_groups
    from robustkit.evaluator import evaluate
    from robustkit.report import read_about
    from robustkit.report.build import build_audit
    from robustkit.report.requirements import measures
    from robustkit.report.requirements.gates import Requirement, check_names, exit_code, judged

    if protocol and attacks:
        raise ConfigurationError("audit: expected --protocol or --attack, got both; a protocol fixes its attacks")
    record = None if about is None else read_about(about)
    requirements = [Requirement.parse(rule) for rule in rules]
    table = None if groups is None else read_groups(groups)
    half_width, time = fraction("until", until), seconds("budget", budget)
    early, share = half_width is not None or time is not None, read_shard(shard)
    out = place_of(shard, out)
    check_folder(out) if share else check_out(out)
    if share and (early or curve or nearest):
        raise ConfigurationError(
            "--shard: expected an evaluation of a fixed number of samples alone, got --until, --budget, --curve or"
            " --nearest; the first two cannot be shared, the others are for robustkit merge --option NAME"
        )
    keep = None if early else out if share else out.with_name(f"{out.name}.parts")
    chosen = custom([create(spec, norm=norm, eps=eps) for spec in attacks])
    case = in_eval_mode(load())
    if not attacks:
        named = protocol or DEFAULT_PROTOCOL
        chosen = get_protocol(named, norm=norm, eps=eps, classes=case.count_classes(), strict=strict)
    if surrogate:
        other = load(model=surrogate, weights=surrogate_weights).classifier
        chosen = chosen.plus(Transfer(surrogate=other, norm=norm, eps=eps))
    radii = [radius.strip() for radius in curve.split(",")] if curve else []
    if table:
        table.check(case.dataset)
    if requirements:  # what cannot be judged is said before the work
        slices = table.slices() if table else ()
        known = case.classifier.class_names, case.dataset.class_names
        classes = names_of_classes(case.count_classes(), *known)
        check_names(requirements, measures.names(classes, labels(chosen.attacks), slices, radii))
    drawn = nearest_found = members = None
    here = ranks()
    with keeping(keep, resume), screen.progress(quiet or not here.first) as bar:
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
            evidence=not no_evidence,
            shard=share,
            folder=keep,
            finished=[*finished, *([keep] if resume and keep else [])],
            probes=probes,
            tuning=load_tuning(load, tuning),
        )
        if share:
            return write_shard(out, evaluation, shard)
        # Where the run stopped early, the extras are content with as many samples.
        common = {"batch_size": case.batch_size, "limit": len(evaluation.ledger), "seed": seed}
        if curve:
            show = bar.evaluation("curve")
            drawn = security_curve(case.classifier, case.dataset, chosen, radii, progress=show, **common)
        if nearest:
            search = [FMN(norm=norm, eps="inf")]
            nearest_found = minimal_distances(case.classifier, case.dataset, search, **common)
        if here.first and isinstance(case.classifier.module, Ensemble):
            some = samples.read(case.dataset, min(MEMBERS, len(evaluation.ledger)))
            members = members_of(
                case.classifier,
                some.x,
                some.y,
                attacks=[PGD(norm=norm, eps=eps, steps=20, loss=loss) for loss in ("ce", "margin")],
                seed=seed,
                batch_size=case.batch_size,
                progress=lambda done, total: bar.count("attack every member", done, total),
            )
    if not here.first:
        return 0
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
        members=members,
        groups=table,
    )
    if requirements:
        audit = judged(audit, requirements)
    repeat = shlex.join(["robustkit", *typed()])
    write_report(out, [audit], [evaluation], title, repeat, seed, loads=[as_named(load)], archive=archive, about=record)
    if keep:
        discard(keep)
    console = screen.out()
    console.print(screen.audit_table(audit))
    console.print(screen.audit_notes(audit))
    if audit.gates:
        console.print(gates_table(audit))
    click.echo(f"  report {out / 'report.html'}")
    complain([audit])
    return exit_code([audit])
