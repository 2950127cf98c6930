"""When an evaluation that may stop early has seen enough."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from robustkit.base.settings import between
from robustkit.maths.intervals import confidence_sequence


@dataclass
class EarlyStopping:
    """How many samples to take next: few at first, then as many as were seen before, as long as there is need and time.

    Every sample that is begun goes through all attacks, so what was seen is a fair sample whenever one stops.

    Args:
        until: Stop once the anytime-valid interval of the robust accuracy is at most this far on either side.
        budget: Stop when the samples that would come next are not expected to be done within so many seconds.

    Attributes:
        reason: Why it stopped, or None.
    """

    until: float | None = None
    budget: float | None = None
    reason: str | None = None
    _start: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        if self.until is not None:
            self.until = between("evaluate", "until, a half-width,", self.until, "(0, 0.5)")
        if self.budget is not None:
            self.budget = between("evaluate", "budget, a time limit in seconds,", self.budget, "(0, inf)")

    @property
    def early(self) -> bool:
        """Whether there is anything that could stop it."""
        return self.until is not None or self.budget is not None

    def next(self, robust: int, seen: int, first: int, most: int, earlier: float = 0) -> int:
        """Returns how many samples to take, 0 to stop.

        Args:
            robust: How many are not broken so far.
            seen: Of how many.
            first: How many to begin with, at least 1.
            most: The largest number to take at once.
            earlier: Seconds that a run took from which this one resumes.
        """
        if not seen:
            return first
        take = min(seen, most)
        if self.until is not None:
            low, high = confidence_sequence(robust, seen)
            if (high - low) / 2 <= self.until:
                self.reason = f"the interval of the robust accuracy came within {100 * self.until:g} points"
                return 0
        if self.budget is not None:
            elapsed = earlier + time.perf_counter() - self._start
            take = min(take, int((self.budget - elapsed) / elapsed * seen))
            if take < 1:
                self.reason = f"the time limit of {self.budget:g} s was reached"
        return max(take, 0)
