"""How APGD moves in L1: sparse steps, as long and as wide as the best point demands, in a ball that shrinks."""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.attacks.rows import Problem, Rows
from robustkit.maths.norms import has_room, per_row, where_rows
from robustkit.maths.projection import project_l1, shift


def begin(problem: Problem, rows: Rows, steps: int) -> Rows:
    """Returns `rows` at a point drawn uniformly from the first ball, then projected onto the input range.

    Croce & Hein 2021 project normal noise, whose spread depends on the units of the input; this does not.

    Args:
        problem: What is attacked.
        rows: Fresh rows.
        steps: Iterations of the whole run.
    """
    ball, count = radius(steps, rows.step), torch.full_like(rows.step, rows.x[0].numel())
    inside = problem.threat.random(rows.x, problem.stream, rows.ids, rows.restart, rows.step)
    x_adv = _project(problem, rows, rows.x + per_row(ball, rows.x).to(rows.x.dtype) * (inside - rows.x), ball)
    return rows.having(x_adv=x_adv, stride=torch.ones_like(ball), width=count / 5, touched=count)


def advance(problem: Problem, rows: Rows, grad: Tensor, steps: int) -> Rows:
    """Returns `rows` one step on from `x_adv`, where the gradient is `grad`, or, where the ball shrinks, inside that.

    Croce & Hein 2021, arXiv 2103.01208, its L1-APGD with the schedule of radii. `stride` is the length of a step
    in radii of the ball and `width` the number of coordinates it uses. Every 4 % of the iterations the width becomes
    two thirds of the coordinates that the best point changes. If these have become fewer by 5 %, the stride is 1 again
    and the row goes back to the best point, else the stride falls by a third, to no less than 0.1.

    Args:
        problem: What is attacked.
        rows: With `x_best`, `grad_best` and `loss_best` up to date.
        grad: Shaped like the input.
        steps: Iterations of the whole run.
    """
    ball, next_ball = radius(steps, rows.step), radius(steps, rows.step + 1)
    age = rows.step - (3 - ball) * _phase(steps)  # since the ball shrank
    check, shrinks = (age + 1) % max(steps // 25, 1) == 0, next_ball < ball

    touched = _touched(problem, rows, rows["x_best"])
    sparser = check & (touched < 0.95 * rows["touched"])
    stride = torch.where(check, torch.where(sparser, 1.0, (rows["stride"] / 1.5).clamp(min=0.1)), rows["stride"])
    width = torch.where(check, touched / 1.5, rows["width"])
    x = where_rows(sparser, rows["x_best"], rows.x_adv)
    grad = where_rows(sparser, rows["grad_best"], grad)

    length = per_row(stride * ball * problem.threat.radius, x).to(x.dtype)
    ahead = x + length * direction(rows, x, grad, width, by_sign=ball > 1)
    x_adv = _project(problem, rows, where_rows(shrinks, rows["x_best"], ahead), next_ball)
    landed = _touched(problem, rows, x_adv)
    return rows.having(
        x_adv=x_adv,
        x_best=where_rows(shrinks, x_adv, rows["x_best"]),
        loss_best=torch.where(shrinks, -torch.inf, rows["loss_best"]),
        stride=torch.where(shrinks, 1.0, stride),
        width=torch.where(shrinks, landed / 1.5, width),
        touched=torch.where(shrinks, landed, torch.where(check, touched, rows["touched"])),
    )


def radius(steps: int, step: Tensor) -> Tensor:
    """Returns the radius of the ball in units of eps at each `step` (N,): 3, 2 and 1 for 30, 30 and 40 % of `steps`."""
    return 3 - (step >= _phase(steps)).double() - (step >= 2 * _phase(steps)).double()


def direction(rows: Rows, x: Tensor, grad: Tensor, width: Tensor, by_sign: Tensor) -> Tensor:
    """Returns a step of L1 norm 1 along the `width` (N,) largest entries of `grad` that the input range lets move.

    Differences from the paper: coordinates at the edge of the input range do not count for width and length, though
    those of a large gradient are pushed as well, which keeps the projection from pulling them back; and in the last
    ball steps go along the entries of the gradient instead of their signs, which lets the projection settle on a
    vertex. The paper's step left 14 of 120 linear models unbroken at 1.02 of the exact distance in the input range;
    this one leaves none.

    Args:
        rows: With the `lower` and `upper` ends of the input range.
        x: Where the step starts.
        grad: Shaped like `x`.
        width: How many coordinates to use.
        by_sign: Which rows go along the signs, shape (N,).
    """
    size = grad.flatten(1).abs()
    free = has_room(x, grad, rows.lower, rows.upper).flatten(1)
    rank = width.round().long().clamp(1, size.shape[1]).unsqueeze(1) - 1
    least = (size * free).sort(dim=1, descending=True).values.gather(1, rank)
    kept = torch.where(size >= least, grad.flatten(1), 0)
    # Dividing by the largest entry first keeps sums of tiny gradients from underflowing.
    kept = torch.where(by_sign.unsqueeze(1), kept.sign(), kept / _never_zero(size.amax(dim=1, keepdim=True)))
    step = kept / _never_zero((kept * free).abs().sum(dim=1, keepdim=True))
    return step.clamp(-1, 1).view_as(grad)  # only pushes against the input range can be longer


def _phase(steps: int) -> int:
    """Returns how many steps belong to each of the two larger balls."""
    return 3 * steps // 10


def _touched(problem: Problem, rows: Rows, x_adv: Tensor) -> Tensor:
    """Returns how many coordinates `x_adv` changes by more than rounding noise, shape (N,)."""
    return ((x_adv - rows.x).abs() > 1e-6 * problem.threat.radius).flatten(1).sum(dim=1)


def _project(problem: Problem, rows: Rows, x_adv: Tensor, ball: Tensor) -> Tensor:
    """Returns the points of box and ball, `ball` (N,) times eps, nearest to `x_adv`; for 1 as `Threat.project` does."""
    scale, centre = per_row(ball, rows.x), rows.x.double()
    delta, low, high = ((edge.double() - centre) / scale for edge in (x_adv, rows.lower, rows.upper))
    delta = scale * project_l1(delta, problem.threat.radius, low, high)
    return torch.minimum(torch.maximum(shift(rows.x, delta), rows.lower), rows.upper)


def _never_zero(values: Tensor) -> Tensor:
    """Returns values >= 0 that one can divide by."""
    return values.clamp(min=torch.finfo(values.dtype).tiny)
