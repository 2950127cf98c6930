"""The log of a run: files that always are written, and trackers where they are installed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from robustkit.base.csv_table import write_csv
from robustkit.base.optional import package
from robustkit.base.settings import choice
from robustkit.base.write_file import write_atomically
from robustkit.defenses.training.guards import Finding
from robustkit.defenses.training.measurement import Epoch

Tracker = Callable[[Epoch], None]


def row(epoch: Epoch) -> dict[str, float | int | None]:
    """Returns an epoch as flat figures; None where nothing was measured."""
    figures = epoch.figures
    measured = {name: getattr(figures, name) if figures else None for name in ("clean", "robust", "fgsm", "n")}
    own = {name: getattr(epoch, name) for name in ("number", "loss", "lr", "seconds")}
    return {name: None if value != value else value for name, value in {**own, **measured}.items()}


def write_log(folder: Path, history: Sequence[Epoch], findings: Sequence[Finding]) -> None:
    """Writes log.csv, a row per epoch, and log.jsonl, a line per epoch and finding, whole."""
    rows = [row(epoch) for epoch in history]
    table = write_csv([*row(Epoch(0, 0.0, 0.0, 0.0))], [[*figures.values()] for figures in rows])
    lines = [*rows, *(dataclasses.asdict(finding) for finding in findings)]
    write_atomically(folder / "log.csv", table)
    write_atomically(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def make_trackers(names: Sequence[str], folder: Path | None, settings: dict[str, str]) -> list[Tracker]:
    """Returns one function per tracker, to be called with every epoch.

    Raises:
        ConfigurationError: If a tracker is unknown or not installed.
    """
    kinds = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
    return [kinds[choice("trackers", "name", name, kinds)](folder or Path(), settings) for name in names]


def _tensorboard(folder: Path, settings: dict[str, str]) -> Tracker:
    writer = package("torch.utils.tensorboard", "trackers", "tensorboard").SummaryWriter(str(folder))
    writer.add_text("settings", json.dumps(settings))

    def track(epoch: Epoch) -> None:
        for name, value in row(epoch).items():
            if name != "number" and value is not None:
                writer.add_scalar(name, value, epoch.number)
        writer.flush()

    return track


def _mlflow(folder: Path, settings: dict[str, str]) -> Tracker:
    mlflow = package("mlflow", "trackers")
    client = mlflow.MlflowClient()
    experiment = mlflow.set_experiment("robustkit").experiment_id
    run = client.create_run(experiment, run_name=folder.name or None).info.run_id
    for name, value in settings.items():
        client.log_param(run, name, value)

    def track(epoch: Epoch) -> None:
        for name, value in row(epoch).items():
            if name != "number" and value is not None:
                client.log_metric(run, name, value, step=epoch.number)

    return track


def _wandb(folder: Path, settings: dict[str, str]) -> Tracker:
    wandb = package("wandb", "trackers")
    run = wandb.init(project="robustkit", name=folder.name or None, dir=str(folder), config=settings)

    def track(epoch: Epoch) -> None:
        run.log({name: value for name, value in row(epoch).items() if value is not None}, step=epoch.number)

    return track
