"""Whether a change of the code left every result as it was, byte by byte.

Runs the demo, an audit and a training run with the code of an earlier revision and with that of the working tree, and
compares what they wrote: ledgers, adversarial points, pictures and weights byte by byte, reports field by field. Only
clock times may differ. Texts that a person reads may differ, too; they are counted.

    python benchmarks/unchanged.py HEAD~1
    python benchmarks/unchanged.py v0.1 --models FOLDER          # with the MNIST network of that folder
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
CLOCK = {"id", "created", "seconds", "probe_seconds", "result_sha256", "created_at"}  # the hash covers the seconds
EXACT = {"fingerprint", "label", "status", "norm", "eps", "quality", "dtype", "selection", "implementation"}
RUNS = {
    "demo": "demo --out demo --quiet",
    "train": "train cnn --data digits --objective trades:beta=6 --eps 0.15 --epochs 3 --out run --quiet",
    "audit": "audit cnn --weights run/weights.safetensors --data digits --eps 0.15 --limit 60 --curve 0.1,0.2 --nearest"
    " --attack apgd:steps=20 --attack fab:steps=20 --attack square:queries=200 --out audit --quiet",
}
MNIST = "audit given:network --data {data} --eps 0.3 --limit 64 --out mnist --quiet"
GIVEN = """import sys; sys.path.insert(0, {folder!r})
from load import load_model

def network():
    return load_model({net!r})
"""


def run(tree: Path, out: Path, models: Path | None) -> None:
    """Runs every command with the code in `tree`, inside `out`."""
    out.mkdir()
    commands = list(RUNS.values())
    if models:
        net = str(models / "models" / "mnist_trades")
        (out / "given.py").write_text(GIVEN.format(folder=str(models), net=net))
        commands.append(MNIST.format(data=models / "data" / "mnist" / "test.npz"))
    for command in commands:
        click.echo(f"{tree.name}: robustkit {command}")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "robustkit", *command.split()],
            cwd=out, env={**os.environ, "PYTHONPATH": str(tree)}, check=False,
        )  # fmt: skip
        if done.returncode not in (0, 3):
            raise click.ClickException(f"exit code {done.returncode}")


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every value of a JSON tree with its path, but those of clocks."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if items is None:
        yield path, tree
        return
    for key, value in items:
        if key not in CLOCK:
            yield from leaves(value, f"{path}/{key}")


def differences(name: str, old: Path, new: Path) -> tuple[list[str], int]:
    """Returns what differs between two versions of one file, and how many texts do."""
    if name.endswith("manifest.json"):  # the hashes of the files, which are compared themselves
        return [], 0
    if name.endswith((".html", ".md")):
        return [], int(old.read_bytes() != new.read_bytes())
    if name.endswith(".json"):
        before, after = (dict(leaves(json.loads(path.read_text()))) for path in (old, new))
        found = [f"{path} is {'gone' if path in before else 'new'}" for path in before.keys() ^ after.keys()]
        texts = 0
        for path in before.keys() & after.keys():
            if before[path] == after[path]:
                continue
            prose = isinstance(before[path], str) and isinstance(after[path], str) and not exact(path)
            texts += prose
            if not prose:
                found.append(f"{path}: {before[path]!r} -> {after[path]!r}")
        return found, texts
    if name.endswith("checkpoint.safetensors"):  # its header holds seconds
        before, after = load_file(old), load_file(new)
        same = before.keys() == after.keys() and all((before[k] == after[k]).all() for k in before)
        return ([] if same else ["tensors differ"]), 0
    if name.endswith("log.csv"):
        before, after = (
            [{k: v for k, v in row.items() if k not in CLOCK} for row in csv.DictReader(io.StringIO(path.read_text()))]
            for path in (old, new)
        )
        return ([] if before == after else ["rows differ"]), 0
    if name.endswith("log.jsonl"):
        before, after = (
            [dict(leaves(json.loads(line))) for line in path.read_text().splitlines()] for path in (old, new)
        )
        return ([] if before == after else ["lines differ"]), 0
    return ([] if old.read_bytes() == new.read_bytes() else ["bytes differ"]), 0


def exact(path: str) -> bool:
    """Returns whether a text of a report is a fact rather than a sentence."""
    key = path.rsplit("/", 1)[1]
    return key in EXACT or key.endswith("sha256") or "/environment/" in path or "/params/" in path


@click.command()
@click.argument("revision")
@click.option("--models", type=click.Path(exists=True, path_type=Path), help="Folder with load.py, models/ and data/.")
def main(revision: str, models: Path | None) -> None:
    """Compare the results of REVISION with those of the working tree."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", work / "old", revision], cwd=ROOT, check=True)
        try:
            for tree, out in ((work / "old", work / "before"), (ROOT, work / "after")):
                run(tree, out, models.resolve() if models else None)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", work / "old"], cwd=ROOT, check=True)
        before, after = (
            {str(path.relative_to(work / side)) for path in (work / side).rglob("*") if path.is_file()}
            for side in ("before", "after")
        )
        bad, texts = [f"{name}: only on one side" for name in sorted(before ^ after) if "__pycache__" not in name], 0
        for name in sorted(before & after):
            found, said = differences(name, work / "before" / name, work / "after" / name)
            bad, texts = [*bad, *(f"{name}: {what}" for what in found)], texts + said
        click.echo(f"{len(before & after)} files compared; {texts} texts read differently")
        if bad:
            raise click.ClickException("\n".join(["results changed:", *bad]))
        click.echo("every figure is as it was")


if __name__ == "__main__":
    main()
