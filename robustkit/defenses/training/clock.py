"""The clock of a run: seconds so far, and whether it is time to stop, to save, to report."""

from __future__ import annotations

import time

from robustkit.base.processes import Ranks
from robustkit.defenses.training.recipe import Recipe


class Clock:
    """Measures the time of a run and says what it is time for.

    Args:
        recipe: How often to save and when to stop.
        ranks: The processes; all of them follow the clock of the first.
    """

    def __init__(self, recipe: Recipe, ranks: Ranks) -> None:
        self.recipe, self.ranks = recipe, ranks
        self.before = 0.0  # seconds the run took before it was resumed
        self.started = self.saved = self.reported = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of the run, those before it was resumed included."""
        return self.before + time.monotonic() - self.started

    @property
    def time_is_up(self) -> bool:
        """Whether this call has used up the `minutes` of the recipe."""
        minutes = self.recipe.minutes
        return minutes is not None and self.ranks.told(lambda: time.monotonic() - self.started >= 60 * minutes)

    def save_due(self) -> bool:
        """Returns whether the last checkpoint is older than `save_minutes`; if so, counts from now on."""
        due = self.ranks.told(lambda: time.monotonic() - self.saved >= 60 * self.recipe.save_minutes)
        self.saved = time.monotonic() if due else self.saved
        return due

    def report_due(self) -> bool:
        """Returns whether the last progress report is half a second old; if so, counts from now on."""
        due = time.monotonic() - self.reported >= 0.5
        self.reported = time.monotonic() if due else self.reported
        return due
