"""Kills runs at random moments and resumes them: the result must be that of a run nobody killed.

    python benchmarks/kill.py audit --kills 100 --folder /tmp/kill

WORK is audit, torchrun (an audit by two processes), train or merge. Moments are drawn up to the time a clean run
takes, so that loading, work and the last write are all hit. Prints one line a kill and what differed.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
from safetensors.torch import load_file, save_file

from robustkit.model.small_models import create

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FREE = {"id", "created", "command", "environment", "seconds", "probe_seconds", "artefacts"}
AUDIT = "audit cnn --weights cnn.safetensors --data digits --eps 0.1 --limit 200 --batch-size 16 --probes 8 --quiet"
AUDIT += " --attack pgd:steps=20 --attack fgsm --expected-clean-accuracy 0.1"
TRAIN = "train mlp --data digits --eps 0.1 --epochs 3 --val-steps 2 --limit 400 --quiet --save-minutes 0"
ROBUSTKIT = [sys.executable, "-m", "robustkit"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "robustkit"]
WORK = {
    "audit": [*ROBUSTKIT, *AUDIT.split()],
    "torchrun": [*TORCHRUN, *AUDIT.split()],
    "train": [*ROBUSTKIT, *TRAIN.split()],
    "merge": [*ROBUSTKIT, "merge", "shard-1", "shard-2"],
}


def prepare(work: str, folder: Path) -> None:
    """Writes the weights to audit, and the shards to merge."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(create("cnn", (1, 8, 8), 10, seed=0).state_dict(), folder / "cnn.safetensors")
    for number in (1, 2) if work == "merge" else ():
        shard = ["--shard", f"{number}/2", "--out", f"shard-{number}"]
        subprocess.run([*WORK["audit"], *shard], cwd=folder, check=True, capture_output=True)


def result(folder: Path) -> dict[str, object]:
    """Returns what a run wrote, without what may differ."""
    if (weights := folder / "weights.safetensors").exists():
        return {name: tensor.numpy().tobytes() for name, tensor in load_file(weights).items()}
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    same = {name: (folder / name).read_bytes() for name in names if name.startswith(("ledger", "adversarials", "png"))}
    return {**same, "report": _strip(json.loads((folder / "report.json").read_text()))}


def killed(command: list[str], folder: Path, moment: float, number: signal.Signals) -> bool:
    """Runs a command, sends it a signal after some seconds, and returns whether it was still at work."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
        try:
            run.communicate(timeout=moment)
            return False
        except subprocess.TimeoutExpired:
            run.send_signal(number)
            run.communicate()
            return True


def resumed(work: str, command: list[str], folder: Path) -> str:
    """Runs a command to its end and returns what is wrong with that, or nothing."""
    again = command if work == "merge" else [*command, "--resume"]
    done = subprocess.run(again, cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode in (0, 3) else f"exit code {done.returncode}: {done.stderr[-300:]}"


def trial(work: str, folder: Path, clean: dict[str, object], seconds: float, chance: random.Random) -> str:
    """Kills a run once and resumes it; returns what is wrong afterwards, or nothing."""
    command, number = [*WORK[work], "--out", "killed"], chance.choice(SIGNALS)
    moment = chance.uniform(0.2, seconds)
    hit = killed(command, folder, moment, number)
    wrong = resumed(work, command, folder)
    if not wrong:
        found = result(folder / "killed")
        wrong = ", ".join(name for name in clean.keys() | found.keys() if clean.get(name) != found.get(name))
    left = [path.name for path in folder.iterdir() if path.name.startswith((".killed", "killed."))]
    print(
        f"{number.name} after {moment:.2f} s{'' if hit else ' (too late)'}: {wrong or 'as the clean run'} {left}",
        flush=True,
    )
    return wrong or " ".join(left)


def main(work: str, kills: int, folder: Path, seed: int = 0) -> int:
    """Returns how many of the killed runs ended otherwise than the clean one."""
    prepare(work, folder)
    start = time.monotonic()
    subprocess.run([*WORK[work], "--out", "clean"], cwd=folder, capture_output=True, check=False)
    seconds, clean, chance = time.monotonic() - start, result(folder / "clean"), random.Random(seed)
    failures = sum(bool(trial(work, folder, clean, seconds, chance)) for _ in range(kills))
    print(f"{work}: {kills} kills within {seconds:.1f} s, {kills - failures} ended as the clean run")
    return failures


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
