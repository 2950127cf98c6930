"""A training run that a command asks for: what to minimise, how, and on which samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustkit.cli.shared.samples import Choice

if TYPE_CHECKING:
    from robustkit.attacks import PGD
    from robustkit.cli.shared.model_and_data import ModelAndData
    from robustkit.defenses.base import Objective
    from robustkit.defenses.training import Finding, Recipe, Training, TrainingProgress
    from robustkit.maths.norms import Norm

NUM_WORKERS = click.option(
    "--num-workers",
    type=click.IntRange(0),
    help="Processes that read and decode samples ahead; they change no result.  [default: 0]",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What one run of `fit` needs beside model and data.

    Attributes:
        objective: Its name and settings, as typed.
        norm: Of the attack, as `eps`.
        eps: Perturbation radius.
        recipe: All other settings of the training.
        samples: Which samples to use.
        num_workers: Processes that read samples ahead; None for what the data say.
        resume: Whether to go on from the checkpoint.
    """

    objective: str
    norm: Norm
    eps: str
    recipe: Recipe
    samples: Choice = dataclasses.field(default_factory=Choice)
    num_workers: int | None = None
    resume: bool = False

    def goal(self) -> Objective:
        """Returns the objective."""
        from robustkit.defenses import create

        return create(self.objective, self.norm, self.eps, self.recipe.epochs)

    def remark(self) -> str | None:
        """Returns what a run that is shorter than that of a paper leaves out; None for nothing."""
        from robustkit.defenses import create

        waits, usual = self.goal().idle_epochs, create(self.objective, self.norm, self.eps).idle_epochs
        if waits == usual:
            return None
        return (
            f"{self.objective} begins after {waits} of {self.recipe.epochs} epochs, in proportion to the {usual} of 200"
            " in its paper; set another number as in awp:warmup=3+trades"
        )

    def attack(self) -> PGD:
        """Returns the attack that judges every epoch."""
        from robustkit.attacks import PGD

        return PGD(norm=self.norm, eps=self.eps, steps=self.recipe.val_steps)

    def train(
        self, loaded: ModelAndData, out: Path, progress: Callable[[TrainingProgress], None] | None = None
    ) -> Training:
        """Trains a model in place, and writes into the folder `out` what `fit` writes."""
        from robustkit.base.processes import ranks
        from robustkit.defenses import fit
        from robustkit.defenses.training.run_folder import CHECKPOINT

        return fit(
            loaded.classifier,
            self.samples.of(loaded.dataset, self.recipe.seed),
            objective=self.goal(),
            recipe=self.recipe,
            attack=self.attack(),
            num_workers=self.num_workers,
            folder=out,
            resume=self.resume and ranks().told((out / CHECKPOINT).is_file),
            about={"model": loaded.spec, "data": loaded.dataset.name, "split": str(loaded.dataset.split)},
            progress=progress,
        )


def unresolved(training: Training) -> list[Finding]:
    """Returns the fatal findings, none where the run was rolled back or recovered and its last epochs are sound."""
    fatal = [finding for finding in training.findings if finding.fatal]
    recovered = fatal and fatal[-1].epoch < len(training.epochs) and not training.stopped
    return [] if recovered else fatal
