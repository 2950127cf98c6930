"""Measures what an audit costs by sample, by process and by byte, and works out what a large one takes: docs/scale.md.

    python benchmarks/scale.py measure --folder /tmp/scale
    python benchmarks/scale.py table --rate 1000 --robust 0.4

Passes and bytes are the audit's own counts; times are CPU seconds, so that a busy machine does no harm. No GPU is
needed: how many forward passes one makes a second is given, and `robustkit plan MODEL --data DATA` measures it.
"""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

import robustkit
from robustkit import Classifier
from robustkit.data.dataset import samples_sum
from robustkit.defenses import Standard, fit
from robustkit.loading.data import load_data
from robustkit.model.small_models import create

# What docs/scale.md assumes: replace it by what you know.
RATE, BACKWARD = 1000, 2  # forward passes a GPU makes a second; what a backward pass takes in forward passes
ROBUST = 0.4  # share of the samples that survives
# What `measure` found, on one core: passes of a sample that survives, then CPU seconds.
PASSES = {"pgd": (42, 41), "fast": (2990, 1140), "autoattack": (7800, 1890)}
START, MERGE, HASH, READ = 18, 20, 0.0025, 0.0059  # once for a shard and for merge; hashing and reading a sample
LOOKED_AT = 111 + 32  # inputs of 3x224x224 that the checks of every shard read besides the first piece
MODEL = """
import torch
from torch import nn
def net():
    layer = nn.Linear(3, 2, bias=False)
    layer.weight.data = torch.tensor([[50.0, 0, -50], [-50, 0, 50]])
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)
"""
AUDIT = "audit model:net --data data.npz --attack fgsm --probes 0 --no-evidence --quiet --batch-size 16"


@dataclass(frozen=True)
class Passes:
    """What one protocol costs a sample: forward and backward passes, and the share that survives."""

    protocol: str
    eps: float
    robust: float
    forwards: float
    backwards: float


def passes(model: Classifier, protocol: str, eps: float, n: int) -> Passes:
    """Returns what a protocol costs on the first digits."""
    found = robustkit.evaluate(model, load_data("digits"), protocol, eps=eps, first=n, batch_size=n)
    forwards, backwards = (sum(getattr(run, what) for run in found.runs) / n for what in ("forwards", "backwards"))
    return Passes(protocol, eps, found.robust_accuracy.k / n, forwards, backwards)


def stored(model: Classifier, folder: Path, n: int) -> dict[str, float]:
    """Returns what `fast` leaves on the disk, by sample and by part."""
    data, sizes = load_data("digits"), []
    robustkit.evaluate(model, data, "fast", eps=0.1, first=n, evidence=True).save(folder / "report", model)
    for count in (n, 4 * n):
        parts = folder / f"parts-{count}"
        robustkit.evaluate(model, data, "fast", eps=0.5, first=count, batch_size=count, folder=parts, examples=0)
        sizes.append(sum(path.stat().st_size for path in parts.iterdir()))
    each = (sizes[1] - sizes[0]) / (3 * n)
    with safe_open(folder / "report" / "adversarials.safetensors", "pt") as file:
        points = file.get_slice("points").get_shape()[0]
    return {
        "bytes a sample in the ledger": (folder / "report" / "ledger.csv").stat().st_size / n,
        "points a sample in the evidence": points / n,
        "bytes a sample in the parts, without points": each,
        "bytes a part besides, without examples": sizes[0] - each * n,
    }


def cpu_seconds(words: str, folder: Path) -> float:
    """Returns the CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "robustkit", *words.split()]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(folder: Path, sizes: tuple[int, int]) -> dict[str, float]:
    """Returns CPU seconds of a shard and of `merge` besides their samples of 3x224x224, from two sizes of data."""
    (folder / "model.py").write_text(MODEL)
    random, table = np.random.default_rng(0), []
    for n in sizes:
        labels = np.arange(n) % 2
        images = random.integers(64, 192, (n, 224, 224, 3))
        images[labels == 0, :, :, 0] += 16
        images[labels == 1, :, :, 2] += 16
        np.savez(folder / "data.npz", images=images.astype(np.uint8), labels=labels)
        shard = cpu_seconds(f"{AUDIT} --shard 1/1 --out shard-{n}", folder)
        table.append((shard, cpu_seconds(f"merge shard-{n} --trust-checkpoint --out merged-{n}", folder)))
    found = {}
    for name, (few, many) in zip(("a shard", "merge"), zip(*table, strict=True), strict=True):
        slope = (many - few) / (sizes[1] - sizes[0])
        found[name] = few - slope * sizes[0]
    return found


def hashing(n: int = 128) -> float:
    """Returns CPU seconds of the checks and the hash by which `merge` compares a sample of 3x224x224."""
    classifier = Classifier(torch.nn.Flatten())
    x, y, start = torch.rand(n, 3, 224, 224), torch.zeros(n, dtype=torch.int64), time.process_time()
    samples_sum(classifier.accept(x), y, y)
    return (time.process_time() - start) / n


def decoding(folder: Path, n: int = 64) -> tuple[float, float]:
    """Returns CPU seconds and bytes of a JPEG of 500x375, resized to 256 and cut to 224."""
    random = np.random.default_rng(0)
    (folder / "photos" / "a").mkdir(parents=True)
    (folder / "photos" / "b").mkdir()
    for number in range(n):
        rough = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(rough).resize((500, 375), Image.Resampling.BICUBIC), np.int16)
        photo = (smooth + random.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(photo).save(folder / "photos" / "ab"[number % 2] / f"{number}.jpg", quality=90)
    source = load_data(folder / "photos", transform="resize=256,crop=224").source
    start = time.process_time()
    for number in range(n):
        source[number]
    size = sum(path.stat().st_size for path in (folder / "photos").rglob("*.jpg"))
    return (time.process_time() - start) / n, size / n


def each_of(protocol: str, rate: float, robust: float) -> float:
    """Returns the seconds a sample takes on a GPU: what costs is those that survive."""
    forwards, backwards = PASSES[protocol]
    return robust * (forwards + BACKWARD * backwards) / rate + READ


def forecast(n: int, gpus: int, protocol: str, rate: float = RATE, robust: float = ROBUST) -> tuple[int, float, float]:
    """Returns the batch size, and the seconds until the last shard is done and for all the rest, merging."""
    each = each_of(protocol, rate, robust)
    batch = min(256, max(8, n // (16 * gpus)))  # four pieces for every GPU, each of four batches
    own = math.ceil(math.ceil(n / (4 * batch)) / gpus) * 4 * batch
    return batch, START + (4 * batch + LOOKED_AT) * READ + min(own, n) * each, MERGE + n * (HASH + READ)


@click.group()
def main() -> None:
    """Measures, or works out."""


@main.command()
@click.option("--rate", default=RATE, show_default=True, help="Forward passes a GPU makes a second.")
@click.option("--robust", default=ROBUST, show_default=True, help="Expected robust accuracy.")
def table(rate: float, robust: float) -> None:
    """Prints how long 50,000 and a million samples take on 1 to 1,000 GPUs."""
    for n in (50_000, 1_000_000):
        for gpus in (1, 10, 100, 1000):
            row = [forecast(n, gpus, protocol, rate, robust) for protocol in PASSES]
            times = [duration(shards) for _, shards, _ in row]
            lost = duration(4 * row[0][0] * each_of("autoattack", rate, robust))
            cells = [f"{n:,}", f"{gpus:,}", str(row[0][0]), *times, duration(row[0][2]), lost]
            click.echo(f"| {' | '.join(cells)} |")


def duration(seconds: float) -> str:
    """Returns hours, or minutes of less than one."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For what is written; a new one.")
@click.option("--samples", default=64, show_default=True, help="Digits whose passes are counted.")
def measure(folder: Path, samples: int) -> None:
    """Prints one figure a line."""
    folder.mkdir(parents=True)
    train = load_data("digits", split="train")
    model = Classifier(create("cnn", (1, 8, 8), 10))
    fit(model, train, objective=Standard(), epochs=4)
    click.echo(f"{'protocol':<12}{'eps':>6}{'robust':>9}{'forward':>10}{'backward':>10}   passes a sample")
    for protocol in ("pgd", "fast", "autoattack"):
        for eps in (0.01, 0.1, 0.5):
            found = passes(model, protocol, eps, samples)
            line = f"{protocol:<12}{eps:>6}{found.robust:>9.2f}{found.forwards:>10.0f}{found.backwards:>10.0f}"
            click.echo(line)
    for what, amount in stored(model, folder, samples).items():
        click.echo(f"{what}: {amount:.2f}")
    for name, once in commands(folder, (128, 512)).items():
        click.echo(f"{name}: {once:.1f} CPU seconds besides its samples")
    click.echo(f"the hash of a sample of 3x224x224: {1000 * hashing():.1f} CPU ms")
    seconds, size = decoding(folder)
    click.echo(f"a JPEG of 500x375 and {size / 1024:.0f} KiB: {1000 * seconds:.1f} CPU ms to read")


if __name__ == "__main__":
    main()
