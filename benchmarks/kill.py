"""Kills runs at random moments and resumes them: the result must be that of a run nobody killed.

    python benchmarks/kill.py audit --kills 100 --folder /tmp/kill

WORK is audit, torchrun (an audit by two processes), train, merge, or a kind of work behind the attacks of an audit.
Moments are drawn up to the time a clean run takes, so that work and the last write are hit; of torchrun, half of the
signals go to one of its workers. Whatever is finished is written at once, not every few seconds, so that there is
something to resume from. Prints one line a kill and what differed.

Runs are forked from this process, which has loaded everything, so that a kill costs a few seconds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from safetensors.torch import load_file
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from robustkit.base.signals import end_as_interrupted
from robustkit.cli import run
from robustkit.evaluation import part_files

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FREE = {"id", "created", "command", "environment", "seconds", "probe_seconds", "artefacts"}
COMMON = "--data digits --eps 0.1 --batch-size 8 --quiet"
ONE = f"audit mlp --weights 0/weights.safetensors {COMMON} --attack pgd:steps=10 --attack fgsm"
AUDIT = f"{ONE} --limit 120 --probes 0"
TRAIN = "train mlp --data digits --eps 0.1 --epochs 3 --val-steps 2 --limit 200 --quiet --save-minutes 0"
WORK = {
    "audit": AUDIT,
    "torchrun": AUDIT,
    "train": TRAIN,
    "merge": "merge shard-1 shard-2 --option curve=0.05,0.1",
    "curve": f"{ONE} --limit 64 --probes 0 --curve 0.02,0.05,0.1",
    "minimal": f"{ONE} --limit 64 --probes 0 --minimal",
    "members": f"audit ensemble.json {COMMON} --attack fgsm --limit 40 --probes 0",
    "probes": f"{ONE} --limit 24 --probes 4",
    "until": f"{ONE} --probes 0 --until 10% --curve 0.05",
}
LOADED = ("evaluator", "defenses.training", "cli.audit.run", "cli.audit.show", "cli.train", "cli.merge", "bundle.save")


def prepare(work: str, folder: Path) -> None:
    """Writes what is audited: weights, an ensemble, shards to merge."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in "01" if work == "members" else "0" * (work != "train"):
        made([*TRAIN.split(), "--seed", seed, "--out", seed], folder)
    if work == "members":
        members = "--weights 0/weights.safetensors --weights 1/weights.safetensors --data digits --limit 10 --quiet"
        made(["ensemble", "mlp", *members.split()], folder)
    for number in (1, 2) if work == "merge" else ():
        made([*AUDIT.split(), "--shard", f"{number}/2", "--out", f"shard-{number}"], folder)
    for name in LOADED:
        import_module(f"robustkit.{name}")
    part_files.EVERY = 0.0


def made(words: list[str], folder: Path) -> None:
    """Runs a command that has to succeed."""
    if wrong := done("", words, folder):
        raise SystemExit(wrong)


def result(folder: Path) -> dict[str, object]:
    """Returns what a run wrote, without what may differ."""
    if (weights := folder / "weights.safetensors").exists():
        return {name: tensor.numpy().tobytes() for name, tensor in load_file(weights).items()}
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    same = {name: (folder / name).read_bytes() for name in names if name.startswith(("ledger", "adversarials", "png"))}
    return {**same, "report": _strip(json.loads((folder / "report.json").read_text()))}


def alone(words: list[str], folder: Path) -> None:
    """Runs a command line, in a process of its own, as the console script does."""
    _inside(folder)
    worker(words)


def by_two(words: list[str], folder: Path) -> None:
    """Runs it by two processes, as torchrun does, but forked."""
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, run_id=uuid.uuid4().hex, max_restarts=0, monitor_interval=0.1,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="fork",
    )  # fmt: skip
    _inside(folder)
    elastic_launch(config, worker)(words)


def worker(words: list[str]) -> None:
    """Runs a command line."""
    end_as_interrupted()
    if code := run(words):
        sys.exit(code)


def started(work: str, words: list[str], folder: Path) -> Any:
    """Returns the forked process."""
    process = multiprocessing.get_context("fork").Process(
        target=by_two if work == "torchrun" else alone, args=(words, folder)
    )
    process.start()
    return process


def workers(launcher: int) -> list[int]:
    """Returns the processes that a process started."""
    return [*map(int, Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split())]


def alive(process: int) -> bool:
    """Returns whether it is there and no zombie."""
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def done(work: str, words: list[str], folder: Path) -> str:
    """Runs a command to its end and returns what is wrong with that, or nothing."""
    process = started(work, words, folder)
    process.join()
    return "" if process.exitcode in (0, 3) else f"exit code {process.exitcode}: {_log(folder)}"


def trial(work: str, folder: Path, clean: dict[str, object], seconds: float, chance: random.Random) -> str:
    """Kills a run once and resumes it; returns what is wrong afterwards, or nothing."""
    words, number = [*WORK[work].split(), "--out", "killed"], chance.choice(SIGNALS)
    moment, one_worker = chance.uniform(0.0, seconds), chance.random() < 0.5
    process = started(work, words, folder)
    process.join(moment)
    hit, whom, below = process.exitcode is None, work, list[int]()
    if hit:
        below = workers(process.pid) if work == "torchrun" else []
        whom = "a worker" if below and one_worker else work
        os.kill(chance.choice(below) if below and one_worker else process.pid, number)
        process.join()
    while any(map(alive, below)):  # they notice within a second that their launcher has gone
        time.sleep(0.1)
    wrong = done(work, [*words, "--resume"], folder)
    if not wrong:
        found = result(folder / "killed")
        wrong = ", ".join(name for name in clean.keys() | found.keys() if clean.get(name) != found.get(name))
    left = [path.name for path in folder.iterdir() if path.name.startswith((".killed", "killed."))]
    late = "" if hit else " (too late)"
    print(f"{number.name} to {whom} after {moment:.2f} s{late}: {wrong or 'as the clean run'} {left}", flush=True)
    return wrong or " ".join(left)


def main(work: str, kills: int, folder: Path, seed: int = 0) -> int:
    """Returns how many of the killed runs ended otherwise than the clean one."""
    prepare(work, folder)
    words, start = [*WORK[work].split(), "--out", "clean"], time.monotonic()
    if wrong := done(work, words, folder):
        raise SystemExit(wrong)
    seconds, clean, chance = time.monotonic() - start, result(folder / "clean"), random.Random(seed)
    failures = sum(bool(trial(work, folder, clean, seconds, chance)) for _ in range(kills))
    print(f"{work}: {kills} kills within {seconds:.1f} s, {kills - failures} ended as the clean run")
    return failures


def _inside(folder: Path) -> None:
    os.chdir(folder)
    log = os.open("run.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _log(folder: Path) -> str:
    log = folder / "run.log"
    return log.read_text()[-300:] if log.exists() else ""


def _strip(tree: object) -> object:
    if isinstance(tree, dict):
        return {name: _strip(value) for name, value in tree.items() if name not in FREE}
    return [_strip(value) for value in tree] if isinstance(tree, list) else tree


@click.command()
@click.argument("work", type=click.Choice([*WORK]))
@click.option("--kills", default=100, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("kill"), show_default=True)
@click.option("--seed", default=0, show_default=True)
def command(work: str, kills: int, folder: Path, seed: int) -> None:
    """Kill WORK at random moments."""
    sys.exit(bool(main(work, kills, folder.resolve(), seed)))


if __name__ == "__main__":
    command()
