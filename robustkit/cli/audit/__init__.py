"""`robustkit audit`: from a model and data to a report. What is asked for is a `Plan`; `run` measures, `show` tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from robustkit.base.exit_codes import ExitCode, listed
from robustkit.cli.audit.launch import LAUNCH, launched
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.offered import MODEL, PROTOCOL
from robustkit.cli.shared.old_spellings import Renamed
from robustkit.cli.shared.option_types import ABOUT, FRACTION, GROUPS, RADII, THREAT, TIME
from robustkit.cli.shared.options import (
    EXPECTED,
    REQUIRE,
    attack_options,
    model_options,
    probe_options,
    sample_options,
    tuning_option,
)
from robustkit.cli.shared.signing import sign_options


@click.command("audit", cls=Command, short_help="Measure a model and write the report.", epilog=listed())
@model_options
@attack_options(
    "Instead of a protocol; may be repeated; see `robustkit attacks`.",
    eps="Perturbation radius in input units: a number, a fraction, or a .npy file with one for each value of an input.",
)
@click.option(
    "--threat",
    "threats",
    type=THREAT,
    multiple=True,
    help="Another threat model beside --norm and --eps, such as L2:0.5; may be repeated. Each has its own number, and"
    " there is the worst case over all.",
)
@click.option("--mask", type=click.Path(path_type=Path), help="A .npy file: True where an input may change.")
@click.option(
    "--protocol",
    type=PROTOCOL,
    help="autoattack, autoattack-plus, autoattack-rand or fast  [default without --attack: fast]",
)
@click.option("--strict", is_flag=True, help="Refuse a protocol that would have to be adapted to the model.")
@click.option(
    "--surrogate", type=MODEL, metavar="MODEL", help="Also transfer adversarial examples from this model to MODEL."
)
@click.option("--surrogate-weights", type=click.Path(path_type=Path), help="Weights of the surrogate.")
@click.option("--surrogate-weights-key", metavar="KEY", help="Which of several sets in that file.")
@click.option("--surrogate-mean", help="As --mean, for the surrogate  [default: its own preset's]")
@click.option("--surrogate-std", help="As --std, for the surrogate  [default: its own preset's]")
@click.option("--curve", type=RADII, help="Robustness curve: also the robust accuracy at these radii.")
@click.option("--minimal", cls=Renamed, is_flag=True, help="Also the minimal adversarial perturbation of each sample.")
@REQUIRE
@click.option("--groups", type=GROUPS, help="CSV of id, cluster and slices: accuracy by slice.")
@sample_options()
@click.option("--until", type=FRACTION, help="Stop when the robust accuracy is known to, say, 2%; in random order.")
@click.option("--time-limit", cls=Renamed, type=TIME, help="Stop after, say, 10m; in random order.")
@click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
@EXPECTED
@probe_options
@tuning_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the report and its evidence, which `robustkit verify` checks, or for what is kept of a shard"
    "  [default: robustkit-report, or robustkit-shard-I-of-N]",
)
@click.option("--archive", is_flag=True, help="Also write the bundle as one file, OUT.zip.")
@sign_options
@click.option("--no-evidence", is_flag=True, help="Leave the adversarial examples out, for huge data.")
@click.option("--no-data-hash", is_flag=True, help="Leave out the hash of all data, if some were chosen.")
@click.option("--shard", metavar="I/N", help="Do one of N shards only; see `robustkit merge`.")
@click.option(
    "--launch", type=LAUNCH, help="Do N shards on a cluster, slurm or ray, and merge them; see docs/scale.md."
)
@click.option("--resume", is_flag=True, help="Resume where the same command was interrupted, or start.")
@click.option("--finished", multiple=True, type=click.Path(path_type=Path), hidden=True)
@click.option("--name", help="What to call the model  [default: MODEL]")
@click.option("--about", type=ABOUT, help="TOML file: purpose, harm, auditor, [signoff], ...")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(**options: Any) -> ExitCode:
    """Measure clean and robust accuracy and calibration of MODEL, and write the report.

    MODEL is package.module:factory; torchvision:NAME, timm:NAME, robustbench:NAME or hf:FOLDER; an .onnx file; a
    TorchScript or torch.export file (with --trust-checkpoint); or a small model by name: mlp, cnn, lenet, strided,
    lstm, preact_resnet18, wideresnet, vit.

    Published weights bring their preset: how pictures are prepared, mean, std and class names. What is typed goes
    before it.

    \b
    Examples:
      robustkit audit torchvision:resnet18 \\
          --weights resnet18.safetensors --data ~/imagenet/val \\
          --eps 4/255 --limit 1000 --protocol autoattack
      torchrun --nproc-per-node 4 -m robustkit audit cnn \\
          --weights cnn.safetensors --data mnist
    """
    from robustkit.cli.audit.plan import Plan
    from robustkit.cli.audit.run import run
    from robustkit.cli.audit.show import show
    from robustkit.cli.shared.report_files import claimed
    from robustkit.cli.shared.resume import keeping

    plan = Plan(**options)
    with claimed(plan.folder), keeping(plan.parts_folder), launched(plan.launch, plan.folder, plan.quiet):
        return show(plan, run(plan))
