"""A finished audit as a run of an experiment tracker: figures, what they were measured under, and the report itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import NoneType
from typing import Any

from robustkit.base.optional import package
from robustkit.base.settings import choice, instance
from robustkit.base.settings import path as known_path
from robustkit.report.document.io import load
from robustkit.report.document.open_audit import place_of
from robustkit.report.document.report import Audit
from robustkit.report.requirements.measures import measures

PLAIN = ("clean_accuracy", "ece", "brier", "nll", "aurc", "confident_errors")
UNDER_ATTACK = ("robust_accuracy", "attack_success_rate", *(f"{name}_attacked" for name in PLAIN[1:]))
Log = Callable[[Path, str, Mapping[str, str], Mapping[str, float]], None]


def log_report(report: str | Path, tracker: str, *, name: str | None = None) -> dict[str, float]:
    """Logs an audit to an experiment tracker and returns the metrics.

    Metrics are named for what was measured, such as `robust_accuracy_Linf_8_255`, with the bounds on which requirements
    are judged as `_low` and `_high`. Parameters say under which protocol. All goes into the active run, or one of its
    own.

    Args:
        report: Folder of a report, as `Evaluation.save` returns it, or the report.json in it.
        tracker: "mlflow" and "wandb", which also keep the report, or "tensorboard" (into runs/).
        name: Which model, where the report has several.

    Raises:
        ConfigurationError: If there is no such report or model, or the tracker is not installed.
    """
    trackers: dict[str, Log] = {"mlflow": _mlflow, "tensorboard": _tensorboard, "wandb": _wandb}
    path, log = known_path("log_report", "report", report), trackers[choice("log_report", "tracker", tracker, trackers)]
    instance("log_report", "name", name, str, NoneType)
    path = path / "report.json" if path.is_dir() else path
    found = load(path)
    audit = found.audits[place_of(found, name, str(path), "name")]
    figures = metrics(audit)
    log(path, audit.subject.name, {"robustkit": found.tool, **parameters(audit)}, figures)
    return figures


def metrics(audit: Audit) -> dict[str, float]:
    """Returns the figures with their bounds by name; those under attack also name norm and eps."""
    under = re.sub(r"\W+", "_", f"_{audit.threat.norm}_{audit.threat.eps}")
    found, named = measures(audit), {name: name for name in PLAIN} | {name: name + under for name in UNDER_ATTACK}
    return {
        f"{named[name]}{end}": figure
        for name in named
        if (one := found[name]).value is not None
        for end, figure in (("", one.value), ("_low", one.low), ("_high", one.high))
    }


def parameters(audit: Audit) -> dict[str, str]:
    """Returns what the figures were measured under, as text."""
    known = {
        "model": audit.subject.name,
        "weights_sha256": audit.subject.weights_sha256,
        "data": audit.data.name,
        "data_sha256": audit.data.sha256,
        "samples": audit.clean.n,
        "norm": audit.threat.norm,
        "eps": audit.threat.eps,
        "goal": audit.threat.goal,
        "protocol": audit.method.protocol,
        "fingerprint": audit.method.fingerprint,
        "quality": audit.verdict.quality,
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def _pages(path: Path) -> list[Path]:
    return [page for page in (path, path.with_suffix(".html")) if page.is_file()]


def _mlflow(path: Path, name: str, parameters: Mapping[str, str], figures: Mapping[str, float]) -> None:
    mlflow = package("mlflow", "log_report")
    with ExitStack() as own:
        if mlflow.active_run() is None:
            own.enter_context(mlflow.start_run(run_name=name))
        mlflow.log_params(dict(parameters))
        mlflow.log_metrics(dict(figures))
        for page in _pages(path):
            mlflow.log_artifact(str(page), "robustkit")


def _wandb(path: Path, name: str, parameters: Mapping[str, str], figures: Mapping[str, float]) -> None:
    wandb = package("wandb", "log_report")
    with ExitStack() as own:
        run = wandb.run
        if run is None:
            run = own.enter_context(wandb.init(project="robustkit", name=name))
        run.config.update(dict(parameters), allow_val_change=True)
        run.summary.update(dict(figures))
        artifact = wandb.Artifact("robustkit-report", type="report")
        for page in _pages(path):
            artifact.add_file(str(page))
        run.log_artifact(artifact)


def _tensorboard(path: Path, name: str, parameters: Mapping[str, str], figures: Mapping[str, float]) -> None:
    package("tensorboard", "log_report")
    writer: Any = package("torch.utils.tensorboard", "log_report", "tensorboard").SummaryWriter()
    with writer:
        writer.add_text(name, "  \n".join(f"{key}: {value}" for key, value in parameters.items()))
        for key, value in figures.items():
            writer.add_scalar(key, value, 0)
