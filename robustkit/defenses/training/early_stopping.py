"""Early stopping: the best epoch, whose weights are kept, and when to stop waiting for a better one."""

from __future__ import annotations

import math

from robustkit.defenses.training.measurement import Epoch
from robustkit.defenses.training.state import TrainingState


class EarlyStopping:
    """Keeps the weights of the best epoch and stops a run that gets no better.

    Args:
        run: The run.
        held_out: Whether samples are held out; without them no epoch can be chosen, and the last one is kept.
    """

    def __init__(self, run: TrainingState, held_out: bool) -> None:
        select = run.recipe.select
        self.run = run
        self.chooses = held_out and select != "last"
        self.by_robust = select == "robust" or (select == "auto" and run.defends)

    def judge(self, epoch: Epoch) -> None:
        """Keeps the weights if `epoch` is the best so far, and stops the run if it is time."""
        run, recipe = self.run, self.run.recipe
        if run.stopped:
            return
        if self.chooses and epoch.figures:
            if run.best is None or self._merit(epoch) > self._merit(run.best):
                run.best, run.stale, run.best_weights = epoch, 0, run.weights()
            else:
                run.stale += 1
        if recipe.patience and run.stale >= recipe.patience:
            run.stopped = f"no better in {run.stale} measurements"
        elif epoch.number == recipe.stop_after and epoch.number < recipe.epochs:
            run.stopped = f"stop_after {recipe.stop_after}"

    def _merit(self, epoch: Epoch) -> tuple[float, float]:
        """Returns what the best epoch has most of: robust, then clean accuracy, or the other way round."""
        figures = epoch.figures
        assert figures is not None
        robust = 0.0 if math.isnan(figures.robust) else figures.robust
        return (robust, figures.clean) if self.by_robust else (figures.clean, robust)
