"""The legal record of a table nearest to a point, where features share one eps."""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.data import records
from robustkit.data.schema import RecordEps
from robustkit.maths.norms import where_rows
from robustkit.maths.projection import shift

_ALL = 1 - 1e-11  # of eps, which features that take any number use up at most


def nearest_record(eps: RecordEps, power: int, point: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Returns a legal record (N, F) near each `point` and, but for rounding errors, no further than eps from `x`.

    Every feature is rounded by itself. Where that together exceeds eps, the features that cannot take any number change
    as long as eps lasts, those first that are furthest on their way; one that is too dear so is rounded towards `x`.
    The rest of eps is for the features that take any number.

    Args:
        eps: Radii of the inputs, and the schema.
        power: 2 or 1, in which the shares of eps that features use up are added.
        point: Numbers within eps of `x` (N, F).
        x: Legal records (N, F).
        lower: Least value that each input may take (N, F).
        upper: Largest value that each input may take (N, F).
    """
    near = records.rounded(eps.schema, point, x, lower, upper)
    if bool((fits := _used(eps, power, near, x).sum(dim=1) <= 1).all()):
        return near
    back = records.rounded(eps.schema, point, x, lower.maximum(point.minimum(x)), upper.minimum(point.maximum(x)))
    dear, cheap = _used(eps, power, near, x), _used(eps, power, back, x)
    found, left = x.clone(), torch.ones_like(x[:, 0], dtype=torch.float64)
    owner = torch.tensor(eps.schema.steps, device=x.device)  # -1 where any number will do
    way = ((point - x).abs() / (near - x).abs()).nan_to_num(0.0, 0.0)
    units = range(int(owner.max()) + 1)
    progress = torch.stack([way[:, owner == unit].amax(dim=1) for unit in units], dim=1) if units else x[:, :0]
    for unit in progress.argsort(dim=1, descending=True, stable=True).T:
        mine = owner == unit[:, None]
        for price, record in ((dear, near), (cheap, back)):
            cost = (price * mine).sum(dim=1)
            bought = mine & (cost <= left)[:, None]
            left, mine = left - torch.where(bought.any(dim=1), cost, 0.0), mine & ~bought
            found = torch.where(bought, record, found)
    total = (cheap * (owner < 0)).sum(dim=1).clamp(min=torch.finfo(torch.float64).tiny)
    share = (_ALL * left / total).clamp(0, 1).pow(1 / power)[:, None]
    found = torch.where(owner < 0, shift(x, (back.double() - x.double()) * share), found)
    return where_rows(fits, near, found)


def _used(eps: RecordEps, power: int, point: Tensor, x: Tensor) -> Tensor:
    """Returns which share of eps each input uses up, to be added (N, F)."""
    delta = (point.double() - x.double()).abs()
    return torch.where(delta > 0, delta / eps.on(x), 0.0).pow(power)
