"""What goes on beside training: the time limit, checkpoints, the log, and progress reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from robustkit.base.signals import held
from robustkit.defenses.training.measurement import Epoch
from robustkit.defenses.training.run_folder import RunFolder
from robustkit.defenses.training.state import TrainingState


@dataclass(frozen=True)
class TrainingProgress:
    """How far training is: `batch` of `batches` in `epoch` of `epochs`, the mean loss, and the last whole epoch."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    last: Epoch | None


class Upkeep:
    """Looks after time, files and progress between batches.

    Args:
        run: The run.
        folder: Where it is written.
        progress: Called about twice a second, and after each epoch, by the first process.
    """

    def __init__(
        self, run: TrainingState, folder: RunFolder, progress: Callable[[TrainingProgress], None] | None
    ) -> None:
        self.run, self.folder = run, folder
        self.progress = progress if run.workers.ranks.first else None
        self.asked: list[int] = []  # signals that ask to end

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Context of the work: the first request to end waits for the batch, after which a checkpoint is saved.

        Several processes would not end after the same batch, and save nothing then.
        """
        if self.folder.path is None or self.run.workers.ranks.count > 1:
            yield
            return
        with held(1) as self.asked:
            yield

    def after_batch(self) -> None:
        """Stops the run when its time is up, saves a checkpoint when one is due, and reports progress.

        Raises:
            KeyboardInterrupt: If somebody asked to end.
        """
        run = self.run
        if not run.stopped and not run.over and run.clock.time_is_up:
            run.stopped = f"{run.recipe.minutes:g} minutes are over"
        if run.healthy and (run.clock.save_due() or self.asked or (run.stopped and run.batch)):
            self.folder.save(run)
        if self.asked:
            self.asked.clear()
            raise KeyboardInterrupt
        if self.progress and (run.clock.report_due() or run.batch == 0):
            self.progress(progress_of(run))

    def after_epoch(self) -> None:
        """Writes checkpoint, log and the best weights, unless a guard has stopped the run; then as after a batch."""
        if self.run.healthy:
            self.folder.save_epoch(self.run)
        self.after_batch()


def progress_of(run: TrainingState) -> TrainingProgress:
    """Returns how far a run is."""
    epochs, last = run.recipe.epochs, run.history[-1] if run.history else None
    return TrainingProgress(min(run.epoch, epochs), epochs, run.batch, run.batches, run.mean_loss, last)
