"""Running a function on as many rows at once as memory allows."""

from __future__ import annotations

from collections.abc import Callable

import torch

from robustkit.attacks.rows import Rows


class Splitter:
    """Runs a function on rows in batches of at most `size`, halved for good whenever memory runs out."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, function: Callable[[Rows], Rows], rows: Rows) -> Rows:
        """Returns `function(rows)`, computed in as many parts as memory demands."""
        parts: list[Rows] = []
        done = 0
        while done < len(rows) or not parts:
            part = rows if len(rows) <= self.size else rows.take(slice(done, done + self.size))
            try:
                parts.append(function(part))
            except torch.OutOfMemoryError:
                if len(part) <= 1:
                    raise
                self.size = len(part) // 2
                torch.cuda.empty_cache()
                continue
            done += len(part)
        return Rows.join(parts)
