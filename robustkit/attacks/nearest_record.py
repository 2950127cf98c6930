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

    Every feature is rounded by itself. Where that together exceeds eps, numbers are rounded towards `x`; categories
    change only as long as eps lasts, those first of whose mixture least is still the old one; and the rest of eps is
    for the features that take any number.

    Args:
        eps: Radii of the inputs, and the schema.
        power: 2 or 1, in which the shares of eps that features use up are added.
        point: Numbers within eps of `x` (N, F).
        x: Legal records (N, F).
        lower: Least value that each input may take (N, F).
        upper: Largest value that each input may take (N, F).
    """
    schema = eps.schema
    near = records.rounded(schema, point, x, lower, upper)
    if bool((fits := _used(eps, power, near, x).sum(dim=1) <= 1).all()):
        return near
    back = records.rounded(schema, point, x, lower.maximum(point.minimum(x)), upper.minimum(point.maximum(x)))
    used, left = _used(eps, power, back, x), torch.ones_like(x[:, 0], dtype=torch.float64)
    numeric = [one.places[0] for one in schema.features if one.kind == "numeric"]
    left = left - used.sum(dim=1) + used[:, numeric].sum(dim=1)
    if schema.groups:
        price = _used(eps, power, near, x)
        prices = torch.stack([price[:, at].sum(dim=1) for at in schema.groups], dim=1)
        old = torch.stack([(point * x)[:, at].sum(dim=1) for at in schema.groups], dim=1)
        order = old.argsort(dim=1, stable=True)
        affordable = prices.gather(1, order).cumsum(dim=1) <= left[:, None]
        bought = torch.zeros_like(affordable).scatter(1, order, affordable)
        for number, at in enumerate(schema.groups):
            back[:, at] = torch.where(bought[:, number, None], near[:, at], back[:, at])
        left = left - (prices * bought).sum(dim=1)
    total = used[:, numeric].sum(dim=1).clamp(min=torch.finfo(torch.float64).tiny)
    share = (_ALL * left / total).clamp(0, 1).pow(1 / power)[:, None]
    delta = (back[:, numeric].double() - x[:, numeric].double()) * share
    back[:, numeric] = shift(x[:, numeric], delta)
    return where_rows(fits, near, back)


def _used(eps: RecordEps, power: int, point: Tensor, x: Tensor) -> Tensor:
    """Returns which share of eps each input uses up, to be added (N, F)."""
    delta = (point.double() - x.double()).abs()
    return torch.where(delta > 0, delta / eps.on(x), 0.0).pow(power)
