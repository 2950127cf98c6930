"""`robustkit demo`: the whole job on handwritten digits, with nothing to download."""

from __future__ import annotations

from pathlib import Path

import click

from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.options import probe_options
from robustkit.cli.shared.signing import read_signing_key, sign_options

EPS = "0.15"  # about two of the sixteen grey levels of these images: a person is not fooled, an ordinary network is


@click.command("demo", cls=Command, short_help="The whole job on handwritten digits.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("robustkit-demo"),
    show_default=True,
    help="Folder for the report and its evidence.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of training and attacks.")
@probe_options
@sign_options
@click.option("--quiet", is_flag=True, help="No progress.")
def command(out: Path, seed: int, probes: int, sign: Path | None, timestamp: str | None, quiet: bool) -> None:
    """Train a small network on scikit-learn's digits, with and without adversarial training, and audit both."""
    from safetensors.torch import save as save_tensors

    from robustkit.attacks import PGD
    from robustkit.attacks.protocols import get_protocol
    from robustkit.cli.shared import terminal
    from robustkit.cli.shared.audit_view import print_audit
    from robustkit.cli.shared.progress import progress
    from robustkit.cli.shared.report_files import check_out, write_report
    from robustkit.data.dataset import batches
    from robustkit.defenses import PGDTraining, Standard, fit
    from robustkit.evaluator import evaluate
    from robustkit.loading.data import load_data
    from robustkit.model.classifier import Classifier
    from robustkit.model.small_models import create as create_model
    from robustkit.report.build import build_audit

    check_out(out)
    key = read_signing_key(sign, timestamp)
    train, test = load_data("digits", split="train"), load_data("digits", split="test")
    samples = next(iter(batches(train, 10_000)))
    attacks = get_protocol("fast", norm="Linf", eps=EPS, classes=10)
    hardened = PGDTraining(attack=PGD(eps=EPS, steps=7))
    plans = (
        ("standard training", Standard(), 10, ()),
        ("adversarial training", hardened, 20, (f"PGD adversarial training, Linf {EPS}, 7 steps",)),
    )
    audits, evaluations, loads, weights = [], [], [], {}
    with progress(quiet) as bar:
        for name, objective, epochs, defences in plans:
            model = create_model("cnn", (1, 8, 8), 10, seed=seed)
            classifier = Classifier(model, class_names=test.class_names)
            fit(classifier, samples.x, samples.y, objective, epochs=epochs, seed=seed, progress=bar.training(name))
            evaluation = evaluate(
                classifier,
                test,
                attacks,
                seed=seed,
                progress=bar.evaluation(name),
                evidence=True,
                probes=probes,
                tuning=(samples.x, samples.y),
            )
            evaluations.append(evaluation)
            audits.append(
                build_audit(evaluation, classifier, name=name, source="cnn", defences=defences, curve=evaluation.curve)
            )
            file = f"weights-{name.split()[0]}.safetensors"
            weights[file] = save_tensors(model.state_dict())
            loads.append({"model": "cnn", "weights": file, "data": "digits"})
    title = "Handwritten digits: standard against adversarial training"
    said = f"robustkit demo --seed {seed}"
    write_report(out, audits, evaluations, title, said, seed, loads=loads, files=weights, sign=key)
    console = terminal.out()
    for audit in audits:
        print_audit(console, audit)
        console.print()
    say(f"  report {out / 'report.html'}\n  check it with `robustkit verify {out}`")
