"""Checks that need a finished evaluation: do its results cast doubt on its own attacks?"""

from __future__ import annotations

from collections.abc import Sequence

from robustkit.attacks.protocols import Protocol
from robustkit.checks.convergence import converged, last_tenth
from robustkit.checks.diagnostic import Diagnostic, diagnostic
from robustkit.checks.doctor import gradient_diagnostic
from robustkit.evaluation.attack_run import AttackRun
from robustkit.evaluation.gradient_masking import gradient_masking
from robustkit.evaluation.ledger import Ledger


def checks_after_attacks(
    runs: Sequence[AttackRun], ledger: Ledger, protocol: Protocol, before: Sequence[Diagnostic]
) -> list[Diagnostic]:
    """Returns the checks that only a finished evaluation allows.

    Args:
        runs: The attacks with their costs.
        ledger: One row per sample.
        protocol: The attacks as they were asked for.
        before: What the checks before the attacks said.
    """
    changes = sum(run.rechecked_changes for run in runs)
    share = changes / max(len(ledger) * len(runs), 1)
    random = any(item.id == "Q05" and item.status == "fail" for item in before)
    found = [
        diagnostic(
            "Q08", 0, "0 outside, no tolerance", "pass", "every point re-measured in float64: norm and input range"
        ),
        diagnostic(
            "Q09",
            changes,
            "0 changed outcomes; above 0.1 % the evaluation is invalid",
            "pass" if not changes else "remark" if random or share <= 1e-3 else "fail",
            "every outcome is decided by a second pass over the stored points"
            + (f"; {changes} points on the decision boundary differ from the attack's own pass" if changes else ""),
        ),
    ]
    backwards = sum(run.backwards for run in runs)
    if backwards:
        zero, bad = sum(run.zero_gradients for run in runs), sum(run.nonfinite_gradients for run in runs)
        found.append(gradient_diagnostic(zero, bad, backwards))
    elif any(item.id == "Q07" and item.status == "fail" for item in before):
        message = "the model has no usable gradient, and no attack used one: black-box and transfer attacks only"
        found.append(diagnostic("Q07", "none", "gradients for the attacks that need them", "remark", message))
    found += gradient_masking(runs, ledger, protocol)
    # Attacks on near-boundary samples alone give up the others at once: their loss says nothing of convergence.
    moving = {
        run.label: last_tenth(run.loss_path)
        for run in runs
        if run.group == "white-box" and len(run.loss_path) > 10 and run.attack.close is None
    }
    if moving:
        found.append(converged(moving))
    return found
