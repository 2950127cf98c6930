"""All that needs a GPU, in one table: run this wherever there is one, before anything else.

It runs the tests marked `gpu`, compares verdicts with the CPU, counts waits for the device, and measures steps of
attacks, whole protocols, an epoch of adversarial training, and memory. On a GPU that takes less than ten minutes; on a
CPU a short form of the same shows that it works. What raises is a row like any other, and the exit code is then 1.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --reference CHECKOUT        # of fra31/auto-attack, which then takes part
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from step_cost import clock, over_floor
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robustkit import Classifier, evaluate
from robustkit.attacks import APGD, FAB, FGSM, PGD, Square
from robustkit.attacks.all_steps import craft
from robustkit.attacks.base import Attack
from robustkit.data.dataset import batches
from robustkit.defenses import PGDTraining, fit
from robustkit.loading.data import load_data
from robustkit.model.small_models import create

ROOT = Path(__file__).resolve().parent.parent
Row = tuple[str, str]
Case = tuple[nn.Module, Tensor, Tensor]


def tests(device: str) -> Iterator[Row]:
    """Yields what the tests marked `gpu` say; without a GPU they are skipped."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-m", "gpu", "tests/test_gpu.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    print(done.stdout, done.stderr, file=sys.stderr)
    yield "tests marked gpu", (done.stdout.strip().splitlines() or ["no output"])[-1]
    if done.returncode:
        raise SystemError("a test marked gpu fails; its output stands above")


def digits(samples: int, eps: float = 0.15) -> Case:
    """Returns a small defended network on the CPU, and test digits that some attacks break and others do not."""
    train = next(batches(load_data("digits", split="train"), 10_000))
    test = next(batches(load_data("digits", split="test"), samples))
    model = create("cnn", (1, 8, 8), 10, seed=0)
    fit(model, train.x, train.y, PGDTraining(attack=PGD(eps=eps, steps=5)), epochs=4, seed=0)
    return model.eval(), test.x, test.y


def verdicts(device: str, case: Case) -> Iterator[Row]:
    """Yields on how many samples the outcome of an attack differs between CPU and device."""
    model, x, y = case
    there = _on(model, device)
    attacks = (
        FGSM,
        partial(PGD, steps=20),
        partial(APGD, steps=20),
        partial(FAB, steps=20),
        partial(Square, queries=200),
    )
    for norm, eps in (("Linf", 0.15), ("L2", 0.8), ("L1", 5.0)):
        for make in attacks:
            attack = make(norm=norm, eps=eps)
            here, elsewhere = attack(model, x, y).success, attack(there, x, y).success.cpu()
            yield f"verdicts unlike the CPU's: {attack.label} {norm}", f"{int((here != elsewhere).sum())} of {len(x)}"


def waits(device: str, case: Case) -> Iterator[Row]:
    """Yields how often a step of an attack waits for the device; nothing tells that on a CPU."""
    if torch.device(device).type != "cuda":
        yield "waits per step", "not measured: no GPU"
        return
    model, x, y = case
    classifier = Classifier(_on(model, device))
    for attack in (
        PGD(eps=0.15, steps=20),
        APGD(eps=0.15, steps=20),
        FAB(eps=0.15, steps=20),
        Square(eps=0.15, queries=20),
    ):
        with classifier.frozen(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                craft(attack, classifier, x.to(device), y.to(device), torch.arange(len(x), device=device), 0)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        yield f"waits per step: {attack.label}", f"{sum('synchroniz' in str(w.message) for w in caught) / 20:.2f}"


def steps(device: str, short: bool) -> Iterator[Row]:
    """Yields the time of attacks over that of as many bare forward and backward passes."""
    for net in ("cnn 8x8",) if short else ("mlp 8x8", "cnn 28x28", "WRN-16-2"):
        for name, ratios in over_floor(net, device, 32 if short else 512, 1 if short else 5).items():
            yield f"steps over the floor: {net}, {name}", f"{statistics.median(ratios):.2f}"


def protocols(device: str, case: Case, reference: Path | None) -> Iterator[Row]:
    """Yields robust accuracy and time of whole protocols, as multiples of the first."""
    model, x, y = case
    there, first = _on(model, device), 0.0

    def ours(protocol: str) -> Callable[[], float]:
        return lambda: evaluate(there, (x, y), protocol, norm="Linf", eps=0.15, probes=0).robust_accuracy.value or 0.0

    def theirs() -> float:
        sys.path.insert(0, str(reference))
        from autoattack import AutoAttack

        adversary = AutoAttack(there, norm="Linf", eps=0.15, device=device, verbose=False, seed=0)
        x_adv = adversary.run_standard_evaluation(x.to(device), y.to(device), bs=len(x))
        with torch.no_grad():
            return float((there(x_adv).argmax(1).cpu() == y).double().mean())

    runs = {"reference AutoAttack": theirs} if reference else {}
    for name, run in (runs | {"autoattack": ours("autoattack"), "fast": ours("fast")}).items():
        start = clock(torch.device(device))
        accuracy = run()
        spent = clock(torch.device(device)) - start
        first = first or spent
        yield f"protocol {name}, {len(x)} digits", f"{accuracy:.1%} robust, {spent:.1f} s, {spent / first:.2f}"


def training(device: str, short: bool) -> Iterator[Row]:
    """Yields an epoch of PGD-10 training on random images beside the plain loop."""
    kind, shape, size, batch = ("cnn", (3, 16, 16), 128, 64) if short else ("preact-resnet18", (3, 32, 32), 5120, 256)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(size, *shape, generator=generator), torch.randint(10, (size,), generator=generator)
    attack = PGD(eps=8 / 255, steps=10, step_size=2 / 255)

    def plain() -> None:
        model = create(kind, shape, 10).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        for some, labels in zip(x.split(batch), y.split(batch), strict=True):
            some, labels = some.to(device), labels.to(device)
            point = some + (torch.rand_like(some) * 2 - 1) * 8 / 255
            model.eval()
            for _ in range(10):
                point = point.clamp(0, 1).detach().requires_grad_()
                (gradient,) = torch.autograd.grad(cross_entropy(model(point), labels), point)
                point = some + (point.detach() + 2 / 255 * gradient.sign() - some).clamp(-8 / 255, 8 / 255)
            model.train()
            optimizer.zero_grad()
            cross_entropy(model(point.clamp(0, 1)), labels).backward()
            optimizer.step()

    def ours(precision: str) -> None:
        model = create(kind, shape, 10).to(device)
        fit(model, x, y, PGDTraining(attack=attack), epochs=1, batch_size=batch, held_out=0, precision=precision)

    floor = 0.0
    for name, run in (
        ("plain loop", plain),
        ("robustkit", partial(ours, "fp32")),
        ("robustkit bf16", partial(ours, "bf16")),
    ):
        start = clock(torch.device(device))
        run()
        spent = clock(torch.device(device)) - start
        floor = floor or spent
        yield f"PGD-10 training, {kind}, {name}", f"{size / spent:.0f} images/s, {spent / floor:.2f} of the plain loop"


def memory(device: str, short: bool) -> Iterator[Row]:
    """Yields the peak of attacks over that of one forward and backward pass on the same batch."""
    if torch.device(device).type != "cuda":
        yield "peak memory", "not measured: no GPU"
        return
    model = create("wideresnet:depth=16,width=2", (3, 32, 32), 10).eval().to(device)
    x = torch.rand(64 if short else 512, 3, 32, 32, device=device)
    with torch.no_grad():
        y = model(x).argmax(1)

    def bare() -> None:
        point = x.clone().requires_grad_()
        torch.autograd.grad(cross_entropy(model.requires_grad_(False)(point), y), point)

    def peak(run: Callable[[], Any]) -> int:
        run()
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device)

    floor = peak(bare)
    attacks: tuple[Attack, ...] = (PGD(eps=8 / 255), APGD(eps=8 / 255, steps=20), Square(eps=8 / 255, queries=50))
    for attack in attacks:
        own = peak(lambda attack=attack: attack(model, x, y))
        yield f"peak memory over one pass: {attack.label}", f"{own / floor:.2f} ({own / 2**20:.0f} MiB)"


def _on(model: nn.Module, device: str) -> nn.Module:
    """Returns a copy of the small network on the device."""
    other = create("cnn", (1, 8, 8), 10)
    other.load_state_dict(model.state_dict())
    return other.eval().to(device)


@click.command()
@click.option("--device", help="By default the GPU, or the CPU where there is none.")
@click.option("--reference", type=click.Path(exists=True, path_type=Path), help="Checkout of fra31/auto-attack.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the table here.")
def main(device: str | None, reference: Path | None, out: Path | None) -> None:
    """Prints the table, a row as soon as it is known."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    short = torch.device(device).type == "cpu"
    name = "a CPU, in short form" if short else torch.cuda.get_device_name(device)
    start, failed = time.perf_counter(), False
    case = digits(60 if short else 400)
    sections = (
        tests(device),
        verdicts(device, case),
        waits(device, case),
        steps(device, short),
        memory(device, short),
        training(device, short),
        protocols(device, (case[0], case[1][:20], case[2][:20]) if short else case, reference),
    )
    lines = [f"| torch {torch.__version__} on {name} | |", "|---|---|"]
    print("\n".join(lines), flush=True)
    for section in sections:
        try:
            for what, figure in section:
                lines.append(f"| {what} | {figure} |")
                print(lines[-1], flush=True)
        except Exception as error:
            traceback.print_exc()
            failed = True
            lines.append(f"| {section.__name__} | fails: {type(error).__name__}: {str(error).splitlines()[0][:100]} |")
            print(lines[-1], flush=True)
    lines.append(f"| seconds in all | {time.perf_counter() - start:.0f} |")
    print(lines[-1])
    if out:
        out.write_text("\n".join(lines) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
