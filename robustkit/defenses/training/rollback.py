"""What is done about what the guards find: go back to the last healthy point with smaller steps, or stop."""

from __future__ import annotations

import dataclasses

from robustkit.defenses.training.checkpoint import Facts, Tensors
from robustkit.defenses.training.guards import catastrophic, not_learning, robust_overfitting
from robustkit.defenses.training.measurement import Epoch, Figures
from robustkit.defenses.training.samples import Samples
from robustkit.defenses.training.state import TrainingState

PROBES = 256
ROLLBACKS = 4  # sixteen times the steps; whoever needs more has another problem


class Guard:
    """Looks for failures between and after epochs, and rolls back or stops the run.

    Args:
        run: The run.
        samples: The fixed set to measure on; between epochs `PROBES` of them.
    """

    def __init__(self, run: TrainingState, samples: Samples) -> None:
        recipe = run.recipe
        self.run, self.probes, self.shares = run, samples.sample(PROBES, run.recipe.seed), run.train.shares()
        self.ignores = recipe.on_catastrophic == "ignore"
        self.active = run.defends and not self.ignores
        self.safe: tuple[Tensors, Facts] | None = None
        self.mark_safe()

    def mark_safe(self) -> None:
        """Makes this the point to roll back to."""
        rolls_back = self.run.recipe.on_catastrophic == "rollback"
        self.safe = self.run.snapshot() if rolls_back and self.run.healthy else None

    def look(self) -> None:
        """Looks for a lost loss and for catastrophic overfitting inside an epoch, every `guard_every` batches."""
        run = self.run
        if run.batch % run.recipe.guard_every:
            return
        run.check_loss()
        if self.active and not run.warming_up:
            self._rolled_back(run.measure(self.probes))
        self.mark_safe()

    def accepts(self, epoch: Epoch) -> bool:
        """Judges a finished epoch; returns False if the run was rolled back to before its end."""
        run, recipe = self.run, self.run.recipe
        warming_up = epoch.number < recipe.eps_warmup
        if epoch.figures and run.defends and not warming_up:
            if self.ignores:
                self._note(epoch.figures)
            elif self._rolled_back(epoch.figures):
                return False
        finding = not_learning(epoch, recipe.epochs, epoch.number * run.updates, self.shares, run.history[:-1])
        if finding:  # the newest of its kind says how it is now
            run.findings = [*(known for known in run.findings if known.guard != finding.guard), finding]
        return True

    def look_back(self) -> None:
        """Looks for robust overfitting over the whole run."""
        finding = robust_overfitting(self.run.history, self.run.best)
        self.run.findings += [finding] if finding else []

    def _note(self, figures: Figures) -> None:
        """Notes where catastrophic overfitting that is to be ignored began."""
        run = self.run
        finding = catastrophic(run.epoch, figures, run.best_probe)
        run.best_probe = max(run.best_probe, figures.robust)
        if finding and all(known.guard != finding.guard for known in run.findings):
            cure = f"ignored as asked; {finding.cure}"
            run.findings.append(dataclasses.replace(finding, cure=cure, fatal=False))

    def _rolled_back(self, figures: Figures) -> bool:
        """Rolls back from catastrophic overfitting and returns True; stops the run where it may not."""
        run = self.run
        finding = catastrophic(run.epoch, figures, run.best_probe)
        if finding is None:
            run.best_probe = max(run.best_probe, figures.robust)
            return False
        if self.safe is None or run.objective.gentler() is None or run.shrunk == ROLLBACKS:
            run.findings.append(finding)
            run.healthy, run.stopped = False, finding.guard
            return False
        run.restore(*self.safe)
        run.findings.append(finding)
        run.shrink_steps()
        return True
