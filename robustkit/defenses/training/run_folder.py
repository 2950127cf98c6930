"""The folder of a run: weights to use, a checkpoint to resume from, and the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from robustkit.base.errors import ConfigurationError
from robustkit.defenses.training import checkpoint
from robustkit.defenses.training.checkpoint import Facts, Tensors
from robustkit.defenses.training.log import make_trackers, write_log
from robustkit.defenses.training.recipe import Recipe
from robustkit.defenses.training.samples import Samples
from robustkit.defenses.training.state import TrainingState

CHECKPOINT, WEIGHTS = "checkpoint.safetensors", "weights.safetensors"
# What may differ between a run and the one that resumes it.
_FREE = {"minutes", "stop_after", "save_minutes", "trackers", "on_catastrophic"}


class RunFolder:
    """Writes nothing where `path` is None; of several processes the first writes.

    Args:
        path: The folder; made when it is first needed.
        run: The run; its settings are written into every file and compared on resuming.
        samples: All samples, whose hash belongs to the settings.
        about: What else to write beside the settings, such as model and data.

    Raises:
        ConfigurationError: If a tracker of the recipe is unknown or not installed.
    """

    def __init__(
        self, path: str | Path | None, run: TrainingState, samples: Samples, about: Mapping[str, str] | None = None
    ) -> None:
        self.path = None if path is None else Path(path)
        self.settings = {**(about or {}), "objective": repr(run.objective), **settings_of(run.recipe)}
        if path:
            self.settings["data_sha256"] = samples.sha256()
        first = run.workers.ranks.first
        self.trackers = make_trackers(run.recipe.trackers, self.path, self.settings) if first else []

    def resume(self, run: TrainingState) -> None:
        """Restores `run` from the checkpoint.

        Raises:
            ConfigurationError: If there is none, or it belongs to another run.
        """
        if self.path is None:
            raise ConfigurationError("fit: expected a folder to resume from, got none; name it")
        path = self.path / CHECKPOINT
        tensors, facts = run.workers.ranks.told(lambda: self._read(path, run))
        run.restore(run.workers.own_memory(tensors, "memory"), facts)
        run.clock.before = run.seconds

    def _read(self, path: Path, run: TrainingState) -> tuple[Tensors, Facts]:
        tensors, facts = checkpoint.read(path)
        free = _FREE | ({"epochs"} if _any_length(run.recipe) else set())
        for name, there in facts["settings"].items():
            here = self.settings.get(name, "")
            if here != there and name not in free:
                advice = "; plan all epochs at once and pause with stop_after" if name == "epochs" else ""
                raise ConfigurationError(
                    f"resume: expected {name} {_short(there)} as in '{path}', got {_short(here)}"
                    f"{advice or '; repeat it, or train into another folder'}"
                )
        found: Facts = facts["run"]
        return tensors, found

    def save(self, run: TrainingState) -> None:
        """Writes the checkpoint and the log."""
        if self.path is None:
            return
        tensors, facts = run.snapshot()
        tensors |= {f"memory.{name}": value for name, value in run.workers.gather_memory(run.memory).items()}
        if run.workers.ranks.first:
            checkpoint.write(self.path / CHECKPOINT, tensors, {"settings": self.settings, "run": facts})
            self.log(run)

    def save_epoch(self, run: TrainingState) -> None:
        """Writes the checkpoint, the log and, if they are new, the weights that training would end with now."""
        last = run.history[-1] if run.history else None  # none where the first epoch was rolled back
        if last:
            for track in self.trackers:
                track(last)
        first = run.workers.ranks.first
        if self.path is not None and first and (run.best is None or (last and run.best.number == last.number)):
            checkpoint.write(self.path / WEIGHTS, run.final_weights(), {"settings": self.settings})
        self.save(run)

    def log(self, run: TrainingState) -> None:
        """Writes log.csv and log.jsonl."""
        if self.path is not None and run.workers.ranks.first:
            write_log(self.path, run.history, run.findings)


def settings_of(recipe: Recipe) -> dict[str, str]:
    """Returns every setting of a recipe as text."""
    return {name: str(value) for name, value in asdict(recipe).items()}


def _any_length(recipe: Recipe) -> bool:
    """Whether the first epochs are the same however many follow."""
    return recipe.schedule in ("constant", "warm-restarts") and recipe.average != "swa"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
