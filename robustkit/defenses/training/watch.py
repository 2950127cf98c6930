"""What is done about what the guards find while training goes on."""

from __future__ import annotations

import math

from robustkit.defenses.training.checkpoint import Facts, Tensors
from robustkit.defenses.training.guards import Figures, catastrophic, diverged, not_learning
from robustkit.defenses.training.run import Run
from robustkit.defenses.training.samples import Samples

PROBES = 256
ROLLBACKS = 4  # sixteen times the steps; whoever needs more has another problem


class Watch:
    """Looks at a run now and then, and closes its epochs.

    Args:
        run: The run.
        samples: The fixed set to measure on.
        chooses: Whether the best epoch on that set is to be kept.
    """

    def __init__(self, run: Run, samples: Samples, chooses: bool) -> None:
        self.run, self.samples = run, samples
        self.probes = samples.first(PROBES)
        self.chooses = chooses and run.recipe.select != "last"
        self.by_robust = run.recipe.select == "robust" or (run.recipe.select == "auto" and run.defends)
        self.shares = run.train.shares()
        self.active = run.defends and run.recipe.on_catastrophic != "ignore"
        self.rolls_back = run.recipe.on_catastrophic == "rollback"
        self.healthy = True  # while no guard has stopped it: checkpoints are worth going on from
        self.safe: tuple[Tensors, Facts] | None = None
        self._keep()

    @property
    def due(self) -> bool:
        """Whether it is time to look between the ends of epochs."""
        return self.run.batch % self.run.recipe.guard_every == 0

    def look(self) -> str:
        """Looks for a lost loss and for catastrophic overfitting; returns why to stop, or ""."""
        self.number()
        reason = self._judge(self.run.measure(self.probes)) if self.active and not self.run.warming else ""
        self._keep()
        return reason

    def _judge(self, figures: Figures) -> str:
        """Rolls back from catastrophic overfitting if it may; otherwise returns why to stop, or ""."""
        run = self.run
        finding = catastrophic(run.epoch, figures, run.best_probe)
        if finding is None:
            run.best_probe = max(run.best_probe, figures.robust)
            return ""
        if self.safe is None or run.objective.gentler() is None or run.shrunk == ROLLBACKS:
            run.findings.append(finding)
            self.healthy = False
            return finding.guard
        run.restore(*self.safe)
        run.findings.append(finding)
        run.shrink()
        return ""

    def _keep(self) -> None:
        """Makes this the point to roll back to."""
        self.safe = self.run.state() if self.rolls_back and self.healthy else None

    def number(self) -> None:
        """Raises Diverged if the loss is not finite any more."""
        run = self.run
        if not math.isfinite(float(run.loss)):
            raise diverged(run.epoch, run.batch, float(run.loss), run.lr)

    def close_epoch(self) -> str:
        """Measures, judges and notes a whole epoch, unless it is rolled back; returns why to stop, or ""."""
        run, recipe = self.run, self.run.recipe
        self.number()
        epoch = run.close_epoch(self.samples)
        warming = run.epoch < run.recipe.eps_warmup
        reason = self._judge(epoch.figures) if epoch.figures and self.active and not warming else ""
        if not run.history or run.history[-1] is not epoch:  # rolled back
            self._keep()
            return ""
        finding = not_learning(epoch, recipe.epochs, epoch.number * run.updates, self.shares)
        if finding and all(known.guard != finding.guard for known in run.findings):
            run.findings.append(finding)
        if self.chooses and not reason:
            run.choose(epoch, self.by_robust)
        run.open_epoch()
        self._keep()
        if recipe.patience and run.stale >= recipe.patience:
            reason = reason or f"no better in {run.stale} measurements"
        if epoch.number == recipe.stop_after and not run.over:
            reason = reason or f"stop_after {recipe.stop_after}"
        return reason
