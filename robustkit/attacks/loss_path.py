"""How the best margin of the samples rises from look to look, as a sum over all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.attacks.best_so_far import FAR
from robustkit.attacks.rows import Rows

TOGETHER = 64  # looks that are added at once, which costs hardly more than one
_KEPT = ("position", "restart", "step", "margin", "done")


class LossPath:
    """Sums over all samples of the best margin so far, for each look (waves one after another).

    Args:
        starts: How often a sample is started.
        steps: How many steps a start makes.
        wave: How many starts run side by side, after the first.
        device: Where the rows are.
    """

    def __init__(self, starts: int, steps: int, wave: int, device: torch.device) -> None:
        self.steps, self.wave, self.side_by_side = steps, wave, starts > 1 and wave > 1
        waves = 1 + -(-(starts - 1) // wave)
        self.waiting: list[Rows] = []
        self.samples = 0
        self.path = torch.zeros(2, waves * (steps + 1), dtype=torch.float64, device=device)

    def note(self, rows: Rows, ends: Tensor, samples: int) -> None:
        """Notes a look at `rows`, after which those of `ends` (N,) are done; positions are below `samples`."""
        self.samples = samples
        self.waiting.append(rows.keep(*_KEPT).having(ends=ends))
        if len(self.waiting) == TOGETHER:
            self._add()

    def leave(self, margins: Tensor) -> None:
        """Notes samples that are not begun, by the margins (N,) they are left with."""
        self.path[1][0] += margins.clamp(min=-FAR).sum()

    def sums(self) -> Tensor:
        """Returns the sums, of float64."""
        if self.waiting:
            self._add()
        return self.path[0] + self.path[1].cumsum(0)

    def _add(self) -> None:
        """Adds the looks that wait, in their order."""
        looks, self.waiting = self.waiting, []
        rows = Rows.join(looks)
        best, speaks = rows.margin.clamp(min=-FAR), ~rows.done
        if self.side_by_side:
            # Starts of one sample share its best margin; positions of different looks are kept apart.
            sizes = torch.tensor([len(look) for look in looks], device="cpu")
            when = torch.arange(len(looks), device="cpu").repeat_interleave(sizes)
            of = rows.position + self.samples * when.to(best.device)
            most = torch.full((self.samples * len(looks),), -FAR, dtype=best.dtype, device=best.device)
            best = most.scatter_reduce(0, of, rows.margin, "amax")[of]
            speaks = speaks & ((rows.restart == 0) | (rows.restart % self.wave == 1))
        look = -(-rows.restart // self.wave) * (self.steps + 1) + rows.step
        # A sample that breaks leaves its last value in the path for all later looks; the others add theirs each time.
        self.path[0].index_add_(0, look, torch.where(speaks & ~rows["ends"], best, 0))
        self.path[1].index_add_(0, look, torch.where(speaks & rows["ends"], best, 0))
