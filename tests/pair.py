"""Two processes that talk by gloo, started as a user starts them; run by itself, what both of them train."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import torch
from nets import images, labels, smooth_cnn
from objective_rows import EVERY
from torch import nn

from robustkit.base.processes import joined
from robustkit.defenses import fit
from robustkit.model.classifier import Classifier

TINY = {"batch_size": 8, "val_steps": 2, "lr": 0.02, "guard_every": 3, "epochs": 2, "select": "last"}
CASES = {
    **{name: (objective, {}) for name, objective in EVERY.items()},
    "head, clip, l1": (EVERY["trades"], {"head_epochs": 1, "clip": 0.5, "l1": 1e-3}),
    "mixup, ema": (EVERY["standard"], {"augment": "mixup", "average": "ema", "ema_decay": 0.5}),
    "flip, sgd": (EVERY["pgd-at"], {"augment": "flip", "optimizer": "sgd", "eps_warmup": 1.5}),
    "a last batch too small to share": (EVERY["pgd-at"], {"held_out": 0.125}),  # four of 8 and one of 3
}
WITH_BATCH_NORM = ("trades", "mart", "awp", "gradalign", "free")


def start(batch_norm: bool = False) -> nn.Module:
    parts = list(smooth_cnn())
    return nn.Sequential(*(part for part in parts if batch_norm or not isinstance(part, nn.BatchNorm2d)))


def train(name: str, batch_norm: bool = False, **more):
    objective, settings = CASES[name]
    model = start(batch_norm)
    result = fit(Classifier(model), images(40), labels(40), objective, **{**TINY, **settings, **more})
    return model.state_dict(), result


def torchrun(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs `torchrun --standalone --nproc-per-node 2 WORDS` and returns its output; a free port is found by torch."""
    with started(*words, cwd=cwd) as process:
        out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def started(*words: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """Starts the same and returns the launcher."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parent}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, words)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def fingerprint(state: dict[str, torch.Tensor]) -> str:
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in state.values())).hexdigest()


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined() as here:
        found, bits = {}, {}
        for name in CASES:
            found[name], result = train(name)
            found[f"{name} losses"] = torch.tensor([epoch.loss for epoch in result.epochs], dtype=torch.float64)
            bits[name] = fingerprint(found[name])
        for name in WITH_BATCH_NORM:
            bits[f"{name} with BatchNorm"] = fingerprint(train(name, batch_norm=True)[0])
        train("free", folder=folder / "half", stop_after=1)
        found["resumed by two"] = train("free", folder=folder / "begun by one", resume=True)[0]
        stopped = train("standard", minutes=0.0, folder=folder / "stopped")[1].stopped
        everybody = here.gathered((bits, stopped))
        if here.first:
            torch.save((found, everybody), folder / "found.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
