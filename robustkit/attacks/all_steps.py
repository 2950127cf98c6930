"""An attack that makes all its steps: the inner maximisation of training, and what is carried over to another model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustkit.attacks.engine import Engine
from robustkit.model.classifier import Classifier

if TYPE_CHECKING:
    from robustkit.attacks.base import Attack


def craft(
    attack: Attack,
    classifier: Classifier,
    x: Tensor,
    goal: Tensor,
    ids: Tensor,
    seed: int,
    start: Tensor | None = None,
    targeted: bool = False,
) -> Tensor:
    """Returns the last point of an attack that makes all its steps on every row, broken or not.

    Args:
        attack: The attack; only its first start is used.
        classifier: Already inside its `frozen()` context.
        x: Clean inputs (N, ...).
        goal: Labels (N,), goals if `targeted`, or whatever the loss of the attack compares the logits with.
        ids: Sample ids (N,).
        seed: A number that differs in every epoch, so that random starts do.
        start: Where to begin instead of where the attack would; brought inside the threat first.
        targeted: Whether `goal` is the class to reach.
    """
    engine = Engine(attack, classifier, seed=seed, batch_size=len(x), targeted=targeted)
    engine.submit(x, ids, goal)
    rows, problem = engine._blank(engine.waiting.pop()), engine.problem
    if start is None:
        rows = attack.start(problem, rows)
    else:
        start = problem.x_adv_of(rows, start)
        rows = rows.having(x_adv=problem.threat.project(start, rows.x, rows.lower, rows.upper))
    for step in range(attack.steps_per_start):
        rows = attack.step(problem, rows.having(step=torch.full_like(rows.step, step)))
    x_adv = rows.x_adv if problem.scaled is None else problem.point(rows, rows.x_adv)
    return x_adv.detach()
