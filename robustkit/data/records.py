"""Legal records of a table: whether inputs are some, the nearest of them, and the set in which attacks search."""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.data.schema import Schema


def legal(schema: Schema, x: Tensor) -> Tensor:
    """Returns for every row of `x` (N, F) whether each value is one that its feature can have, shape (N,).

    Whether values lie in their range is for the bounds to say.
    """
    whole = x[:, schema.whole]
    fine = (whole == whole.round()).all(dim=1)
    for place, levels in schema.stepped:
        fine = fine & (x[:, place, None] == torch.tensor(levels, dtype=x.dtype, device=x.device)).any(dim=1)
    for at in schema.groups:
        group = x[:, at]
        fine = fine & ((group == 0) | (group == 1)).all(dim=1) & (group.sum(dim=1) == 1)
    return fine


def rounded(schema: Schema, point: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Returns the nearest values that features can have, of each input by itself and of each category together.

    Args:
        schema: Of the table.
        point: Any numbers (N, F).
        x: The clean records (N, F), which are legal and within the limits.
        lower: Least value of every input (N, F).
        upper: Largest value of every input (N, F).
    """
    found, at = point.clamp(lower, upper), schema.whole
    found[:, at] = found[:, at].round().clamp(lower[:, at].ceil(), upper[:, at].floor())
    for place, levels in schema.stepped:
        steps = torch.tensor(levels, dtype=x.dtype, device=x.device)
        allowed = (steps >= lower[:, place, None]) & (steps <= upper[:, place, None])
        far = (steps - point[:, place, None]).abs().masked_fill(~allowed, torch.inf)
        found[:, place] = steps[far.argmin(dim=1)]
    for at in schema.groups:
        clean = x[:, at] == 1
        # Between categories that are equally near, the attacker would rather change than not.
        near = torch.where(clean, point[:, at] - 1e-6, point[:, at]).masked_fill(upper[:, at] < 1, -torch.inf)
        stays = (clean & (lower[:, at] > 0)).any(dim=1, keepdim=True)
        chosen = torch.nn.functional.one_hot(near.argmax(dim=1), len(at)).bool()
        found[:, at] = torch.where(stays, clean, chosen).to(x.dtype)
    return found


def relaxed(schema: Schema, point: Tensor) -> Tensor:
    """Returns `point` (N, F) with every category a mixture: the nearest weights >= 0 that add up to 1."""
    if not schema.groups:
        return point
    point = point.clone()
    for at in schema.groups:
        group = point[:, at]
        ordered = group.sort(dim=1, descending=True).values
        excess = (ordered.cumsum(dim=1) - 1) / torch.arange(1, len(at) + 1, dtype=point.dtype, device=point.device)
        share = (ordered > excess).sum(dim=1, keepdim=True)
        point[:, at] = (group - excess.gather(1, (share - 1).clamp(min=0))).clamp(0, 1)
    return point


def towards_one(schema: Schema, grad: Tensor) -> Tensor:
    """Returns a gradient (N, F) that raises, of each category, only the most promising choice and lowers the others.

    Weights of a mixture add up to 1, so that a constant added to the gradients of all of them changes nothing. Of
    choices that promise the same, all are raised: else a mixture that has none of them left would keep what it has.
    """
    if not schema.groups:
        return grad
    grad = grad.clone()
    for at in schema.groups:
        group = grad[:, at]
        best = group.topk(2, dim=1).values
        least = group.amin(dim=1, keepdim=True)
        between = best[:, :1].lerp(least, 0.01).minimum(best.mean(dim=1, keepdim=True))
        grad[:, at] = group - between
    return grad
