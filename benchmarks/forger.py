"""A forger against `robustkit.verify`: every field of a report, cells of its ledger, points, and consistent forgeries.

Each mutant changes one thing and makes every hash, page and picture agree again, as somebody would who has read the
code. With model and data at hand it must be found (false or undecided), or change nothing but what the verification
itself lists as taken on trust.

    python benchmarks/forger.py                  # every field, 12 cells of every column
    python benchmarks/forger.py --cells 3 --only ledger.
"""

from __future__ import annotations

import copy
import dataclasses
import fnmatch
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bundles import Forger
from nets import digits, digits_cnn

import robustkit
from robustkit.attacks import FMN, PGD
from robustkit.attacks.protocols import Protocol, get_protocol
from robustkit.bundle import Verification, save_bundle
from robustkit.data.dataset import Dataset
from robustkit.evaluation.curve import minimal_distances, security_curve
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.slices import Groups
from robustkit.model.classifier import Classifier
from robustkit.model.weights import weights_sha256
from robustkit.report.build import build_audit, build_report
from robustkit.report.requirements.gates import Requirement, judged

COUNT, EPS = 40, 0.1
X, Y = digits(COUNT)
DATA = Dataset(name="mine", source=(X, Y), split="test")
Tree = dict[str, Any]

# What may be changed without being found, and the words under which the verification lists it.
ON_TRUST = {
    "id": "when, where",
    "title": "when, where",
    "created": "when, where",
    "tool": "when, where",
    "command": "when, where",
    "seed": "when, where",
    "environment.*": "when, where",
    "about.*": "when, where",
    "audits.0.subject.name": "when, where",
    "audits.0.subject.source": "when, where",
    "audits.0.subject.device": "when, where",
    "audits.0.subject.defences*": "the defences that are named",
    "audits.0.data.notes*": "when, where",
    "audits.0.method.changes*": "how the protocol was adapted",
    "audits.0.attacks.*.forwards": "steps, queries, passes",
    "audits.0.attacks.*.backwards": "steps, queries, passes",
    "audits.0.attacks.*.seconds": "when, where",
    "audits.0.attacks.*.loss_path*": "steps, queries, passes",
    "audits.0.attacks.*.rechecked_changes": "steps, queries, passes",
    "audits.0.attacks.*_gradient_rows": "steps, queries, passes",
    "audits.0.method.probe_seconds": "when, where",
    "audits.0.method.accelerated": "steps, queries, passes",
    "audits.0.diagnostics.*": "diagnostics measured in passing",
    "audits.0.curve.*": "the accuracy curve",
    "audits.0.nearest.*": "the nearest distances",
    "audits.0.slices.*": "which samples are in a slice",
    "audits.0.gates.*": "who set the requirement",
    "audits.0.verdict.rule": "who set the requirement",
    "ledger.*/steps": "steps, queries, passes",
    "ledger.*/queries": "steps, queries, passes",
    "audits.0.gallery": "which samples the gallery shows",
    "ledger.*/stored_prediction": "rounded predictions at points",
    "ledger.*/margin": "rounded predictions at points",
    "ledger.*/confidence": "rounded predictions at points",
    "ledger.*/distance": "rounded predictions at points",
}


def audit(folder: Path, protocol: Any, classifier: Classifier | None = None, data: Dataset = DATA) -> None:
    """Writes an honest bundle with everything a report can hold."""
    classifier = classifier or Classifier(digits_cnn())
    evaluation = robustkit.evaluate(classifier, data, protocol, evidence=True, probes=8)
    colours = {str(id): "red" if id % 3 else "green" for id in range(COUNT)}
    made = build_audit(
        evaluation,
        classifier,
        name="mine",
        source="bench",
        defences=("none",),
        curve=security_curve(classifier, data, [PGD(eps=EPS, steps=5)], ["0.02", "0.05", "0.1"]),
        distances=minimal_distances(classifier, data, [FMN(norm="Linf", eps="inf", steps=10)]),
        groups=Groups("groups.csv", {"colour": colours}),
    )
    made = judged(made, [Requirement.parse("robust_accuracy>=0.1")])
    save_bundle(build_report([made], title="mine", command="robustkit audit"), evaluation, folder)


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path to every plain value of a tree, and to every list that may lose an entry."""
    if isinstance(tree, dict):
        for key, part in tree.items():
            yield from leaves(part, (*path, key))
    elif isinstance(tree, list):
        yield path
        for index, part in enumerate(tree):
            yield from leaves(part, (*path, index))
    else:
        yield path


def other(value: Any) -> Any:
    """Returns a value like it, and not it."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 1.02 + 0.0137
        case str():
            return f"{value}1" if not value.endswith(("=", "+00:00")) else value.replace("2", "3").replace("A", "B")
        case list():
            return value[:-1] or None
        case _:
            return 1


def fields(report: Tree) -> Iterator[tuple[str, Callable[[Tree], None]]]:
    """Yields a change of every field of the report."""
    for path in leaves(report):
        if not path or path[0] in ("artefacts", "schema", "result_sha256"):
            continue

        def change(tree: Tree, path: tuple[Any, ...] = path) -> None:
            *above, last = path
            for key in above:
                tree = tree[key]
            tree[last] = other(tree[last])

        yield ".".join(map(str, path)), change


def forge(folder: Path, change: Callable[[Tree], None]) -> None:
    """Changes the report and makes all hashes, pages and pictures agree."""
    path = folder / "report.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
    Forger(folder).finish()


def check(folder: Path, again: int = 0) -> Verification:
    """Verifies with model and data."""
    return robustkit.verify(folder, Classifier(digits_cnn()), DATA, attack_again=again, seed=1)


def outcome(name: str, result: Verification) -> str:
    """Returns how a mutant ended."""
    if result.false:
        return "false"
    if result.invalid or result.unchecked:
        return "undecided"
    listed = [said for pattern, said in ON_TRUST.items() if fnmatch.fnmatch(name, pattern)]
    return "on trust" if any(any(said in claim for claim in result.trusted) for said in listed) else "NOT FOUND"


def tried(name: str, original: Path, change: Callable[[Path], None], again: int = 0) -> str:
    """Makes one mutant and returns how it ended; one that cannot be read at all counts as refused."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "b"
        shutil.copytree(original, folder)
        try:
            change(folder)
        except Exception:  # robustkit itself cannot read or draw it any more
            return "no report"
        try:
            return outcome(name, check(folder, again))
        except robustkit.ConfigurationError:
            return "refused"  # the model does not fit what is stated, and one line says so


def cells(original: Path, each: int) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yields changes of cells, every other one with all figures that follow from it."""
    ledger = Ledger.from_csv((original / "ledger.csv").read_text())
    draw = random.Random(0)
    for column in ledger.columns:
        for turn, row in enumerate(draw.sample(range(len(ledger)), min(each, len(ledger)))):

            def change(folder: Path, column: str = column, row: int = row, derived: bool = turn % 2 == 0) -> None:
                def edit(table: Ledger) -> None:
                    value = table[column][row].item()
                    table[column][row] = 1.0 if value != value else other(value)

                forger = Forger(folder)
                forger.ledger(edit, derived)
                forger.finish()

            yield f"ledger.{column}", change


def points(original: Path, each: int) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yields changes of the stored points and of whose they are."""
    draw = np.random.default_rng(0)
    for name, tensor in load_file(original / "adversarials.safetensors").items():
        for place in draw.choice(tensor.size, min(2 * each, tensor.size), replace=False).tolist():

            def change(folder: Path, name: str = name, place: int = place) -> None:
                def edit(tensors: dict[str, np.ndarray]) -> None:
                    flat = tensors[name] = tensors[name].copy()
                    old = flat.reshape(-1)[place]
                    flat.reshape(-1)[place] = old + (1 if flat.dtype.kind in "iu" else 0.3 if old < 0.5 else -0.3)

                forger = Forger(folder)
                forger.points(edit)
                forger.finish()

            yield f"points.{name}", change


def consistent(place: Path) -> Iterator[tuple[str, Path]]:
    """Yields bundles that agree with themselves in everything and are false."""
    model, search = Classifier(digits_cnn()), [PGD(eps=EPS, steps=10)]
    standing = robustkit.evaluate(model, DATA, search).ledger
    robust = standing["id"][standing.robust]

    def picked(ids: np.ndarray, said: str | None) -> Dataset:
        return Dataset(name="mine", source=(X[ids], Y[ids], ids), split="test", selection=said)

    audit(place / "a", search, data=picked(robust, None))
    yield "cherry-picking: only samples that stand, as all samples", place / "a"
    audit(place / "b", search, data=picked(robust, f"the first {len(robust)} samples"))
    yield "cherry-picking: only samples that stand, as the first", place / "b"
    audit(place / "c", search, data=picked(robust, f"{len(robust)} of {COUNT} samples, stratified by class (seed 0)"))
    yield "cherry-picking: only samples that stand, as drawn at random", place / "c"
    audit(place / "d", search, data=picked(np.arange(30), None))
    yield "scope: 30 of 40 samples as all", place / "d"

    step = PGD.step
    for name, weak in {
        "a search that never moves": lambda self, problem, rows: step(self, problem, rows).having(x_adv=rows.x),
        "a search that goes the wrong way": lambda self, problem, rows: step(self, problem, rows).having(
            x_adv=(rows.x - 0.99 * (step(self, problem, rows).x_adv - rows.x)).clamp(0, 1)
        ),
    }.items():
        PGD.step = weak  # type: ignore[method-assign]
        try:
            audit(place / name, [PGD(eps=EPS, steps=10, random_start=False)])
        except Exception as error:
            click.echo(f"{name}: the audit itself refused: {error}")
            continue
        finally:
            PGD.step = step  # type: ignore[method-assign]
        yield f"disabled: {name}", place / name

    audit(place / "weak", Protocol("custom", (PGD(eps=EPS, steps=1, step_size=0.001),), cascade=False))
    for claim in (
        {"params": {"steps": 100}}, {"params": {"step_size": "0.01"}},
        {"implementation": "robustkit.attacks.apgd.APGD"}, {"implementation": "elsewhere.Strong"},
    ):  # fmt: skip

        def stronger(tree: Tree, claim: Tree = claim) -> None:
            attack = tree["audits"][0]["attacks"][0]
            attack.update({k: {**attack[k], **v} if isinstance(v, dict) else v for k, v in claim.items()})

        yield from rewritten(place, "weak", f"other protocol: a weak attack as {claim}", stronger)
    for name in ("autoattack", "fast", "AutoAttack", "autoattack (adapted)"):
        yield from rewritten(
            place, "weak", f"other protocol: called {name}",
            lambda tree, name=name: tree["audits"][0]["method"].update(protocol=name),
        )  # fmt: skip
    for package, version in {"jinja2": "2.0", "robustkit": "0.0.9", "torch": "1.13"}.items():

        def better(tree: Tree, package: str = package, version: str = version) -> None:
            tree["environment"][package] = version
            tree["audits"][0]["method"]["fingerprint"] = "0123456789ab"

        yield from rewritten(place, "weak", f"versions: a false fingerprint under {package} {version}", better)
        for file in ("report.html", "report.md"):
            folder = place / f"page {package} {file}"
            shutil.copytree(place / "weak", folder)
            forge(folder, lambda tree, p=package, v=version: tree["environment"].update({p: v}))
            page = folder / file
            page.write_text(page.read_text().replace("reliable", "sound and most reliable"))
            Forger(folder).finish(pages_too=False)
            yield f"pages: {file} rewritten, under {package} {version}", folder

    other_net = copy.deepcopy(digits_cnn())
    other_net[-1].bias.data[0] += 1
    audit(place / "net", search, Classifier(other_net))
    yield "weights: those of another network", place / "net"
    honest = Classifier(digits_cnn())
    audit(place / "hash", search, Classifier(other_net))

    def hashed(tree: Tree) -> None:
        tree["audits"][0]["subject"]["weights_sha256"] = weights_sha256(honest.module)

    yield from rewritten(place, "hash", "weights: those of another network under the hash of this", hashed)


def rewritten(place: Path, source: str, name: str, change: Callable[[Tree], None]) -> Iterator[tuple[str, Path]]:
    """Yields a copy of a bundle with its report changed, the fingerprint made to fit."""
    folder = place / f"{source} {name}"
    shutil.copytree(place / source, folder)
    try:
        forge(folder, change)
    except Exception as error:
        click.echo(f"{name}: nobody can be shown such a report: {str(error)[:100]}")
        return
    yield name, folder


@click.command()
@click.option("--cells", "each", default=12, show_default=True, help="Of every column of the ledger.")
@click.option("--only", multiple=True, help="Mutants whose name begins so, such as ledger. or audits.0.method.")
@click.option("--again", default=64, show_default=True, help="Samples attacked again for consistent forgeries.")
def main(each: int, only: tuple[str, ...], again: int) -> None:
    """Prints a table of what became of every mutant."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        original = place / "original"
        protocol = get_protocol("fast", norm="Linf", eps=EPS, classes=10)
        audit(
            original,
            dataclasses.replace(protocol, attacks=(*protocol.attacks[:3], *protocol.attacks[6:]), changes=("shorter",)),
        )
        honest = check(original, again)
        if honest.false or honest.unchecked:
            raise SystemExit(f"the honest bundle does not hold: {honest.false} {honest.unchecked}")
        click.echo(f"the honest bundle holds: {honest.remarks[0]}")
        ends: dict[str, Counter[str]] = {}
        report = json.loads((original / "report.json").read_text())
        mutants = [(name, lambda folder, change=change: forge(folder, change)) for name, change in fields(report)]
        mutants += [*cells(original, each), *points(original, each)]
        mutants = [mutant for mutant in mutants if mutant[0].startswith(only or ("",))]
        for number, (name, change) in enumerate(mutants, 1):
            end = tried(name, original, change)
            kind = "report" if not name.startswith(("ledger.", "points.")) else name.partition(".")[0]
            ends.setdefault(kind, Counter())[end] += 1
            if end == "NOT FOUND":
                click.echo(f"NOT FOUND: {name}")
            if number % 100 == 0:
                click.echo(f"{number} of {len(mutants)}", err=True)
        for name, folder in consistent(place):
            end = outcome("", check(folder, again))
            ends.setdefault("consistent", Counter())[end] += 1
            click.echo(f"{end}: {name}")
        for kind, counted in ends.items():
            click.echo(f"| {kind} | {sum(counted.values())} | " + ", ".join(f"{n} {end}" for end, n in counted.items()))


if __name__ == "__main__":
    main()
