"""Has the loss of an attack settled by its last step?"""

from __future__ import annotations

from collections.abc import Sequence

from robustkit.attacks.names import attack_name
from robustkit.checks.diagnostic import Diagnostic, diagnostic


def last_tenth(path: Sequence[float]) -> float | None:
    """Returns the share of a loss path's change that falls in its last tenth; None where nothing moved."""
    moved = max(path, default=0.0) - min(path, default=0.0)
    return abs(path[-1] - path[int(0.9 * (len(path) - 1))]) / moved if moved else None


def converged(moving: dict[str, float | None]) -> Diagnostic:
    """Returns Q14 (Pintor et al. 2022, arXiv 2106.09947, indicator 4): whether any strong attack had converged."""
    best = min(moving, key=lambda label: moving[label] or 0.0)
    share = moving[best] or 0.0
    settled = share <= 0.05
    message = f"{attack_name(best)} made {100 * share:.1f} % of its loss change in the last tenth of its steps"
    if not settled:
        message += ": not converged; use twice the steps, or apgd"
    limit = "at most 5 % for at least one attack"
    return diagnostic("Q14", share, limit, "pass" if settled else "remark", message)
