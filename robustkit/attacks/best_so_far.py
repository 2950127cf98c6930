"""What is noted about a row after each look at the model: whether it is broken, and its best point so far."""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.attacks.rows import Problem, Rows
from robustkit.maths.losses import lead
from robustkit.maths.norms import where_rows

FAR = 1e30  # stands for an infinite margin, so that means stay finite


class Look:
    """Enters what was seen at a point into the rows.

    On a CPU, where asking costs little, it works out only what the answers ask for: most looks break nothing.

    Args:
        problem: What is attacked.
        leaves_ball: Whether points may lie outside the threat; those never count.
        nearest: Whether the broken point nearest to the clean input is looked for.
        relaxes: Whether `logits` are those of points that need not be legal records, which are then looked at, too.
    """

    def __init__(self, problem: Problem, leaves_ball: bool, nearest: bool, relaxes: bool = False) -> None:
        self.problem, self.threat, self.targeted = problem, problem.whole, problem.targeted
        self.leaves_ball, self.nearest, self.relaxes = leaves_ball, nearest, relaxes
        self.at_hand = problem.classifier.device.type == "cpu"

    def __call__(self, rows: Rows, point: Tensor, spent: int) -> Rows:
        """Notes for every row not yet done whether `point`, where `logits` were seen, breaks it or comes nearer."""
        if self.relaxes:
            rows, spent = self._note_relaxed(rows, point), spent + self.problem.eot
        seen, x = self.problem.legal(rows, point), self.problem.inputs(rows)
        kept = point if self.problem.scaled else seen  # in the coordinates of the rows
        gap, hit = self._judge(rows)
        active = ~rows.done
        better = active & (gap > rows.margin)
        if hit is not None:
            better = better | (active & hit)
        if self.leaves_ball:
            inside = self._inside(better if hit is None else better | hit, seen, x)
            better, hit = better & inside, None if hit is None else hit & inside
        changes: dict[str, Tensor] = {}
        if self.nearest and hit is not None:
            distance = torch.where(hit, self.threat.distance(seen, x), torch.inf)
            better = better | (distance < rows.distance)
            changes["distance"] = torch.minimum(distance, rows.distance)
        if hit is not None:
            changes["broken"] = rows.broken | (active & hit)
        if not (self.at_hand and not better.any()):
            changes["best"] = where_rows(better, kept, rows.best)
            changes["margin"] = torch.where(better, gap, rows.margin)
        return rows.without("logits").having(
            steps=rows.steps + active, queries=torch.add(rows.queries, active, alpha=spent), **changes
        )

    def _note_relaxed(self, rows: Rows, point: Tensor) -> Rows:
        """Returns the rows with what the model says of the legal records next to `point`, and what it said of that."""
        answer = rows.logits.argmax(dim=1)
        hit = ((answer == rows.goal) == self.targeted) & (rows.relaxed < 0) & ~rows.done
        if self.leaves_ball:
            hit = hit & self.threat.reaches(self.problem.point(rows, point), self.problem.inputs(rows))
        return rows.having(relaxed=torch.where(hit, answer, rows.relaxed), logits=self.problem.logits(rows, point))

    def _judge(self, rows: Rows) -> tuple[Tensor, Tensor | None]:
        """Returns the margin of `logits` and whether they reach the goal; None where no row that counts does."""
        logits, targeted = rows.logits.double(), self.targeted
        gap = lead(logits, rows.goal)
        if self.at_hand:
            signed = -gap if targeted else gap
            least, most = (signed if self.nearest else signed.masked_fill(rows.done, -1.0)).aminmax()
            if float(least) > -torch.inf and float(most) < 0:
                return signed, None
        # Scores that are not numbers are no prediction: untargeted they count as wrong, targeted as a miss.
        predicted_goal = (logits.argmax(dim=1) == rows.goal) & ~gap.isnan()
        gap = gap.nan_to_num(FAR, FAR, -FAR)
        return (-gap, predicted_goal) if targeted else (gap, ~predicted_goal)

    def _inside(self, asked: Tensor, point: Tensor, x: Tensor) -> Tensor:
        """Returns which of the rows `asked` (N,) lie in the threat; on a CPU no others are measured."""
        if not self.at_hand:
            return asked & self.threat.contains(point, x)
        of = asked.nonzero().squeeze(1)
        if len(of) == 0:
            return asked
        return asked.index_copy(0, of, self.threat.contains(point[of], x[of]))
