"""A small table with one feature of every kind, what is known about it, and a validator that shares no code with us."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

SCHEMA: dict[str, Any] = {
    "default": {"eps": 0.5, "unit": "std"},
    "features": {
        "age": {"eps": 3, "low": 18, "high": 90, "may": "rise"},
        "smoker": {"kind": "binary"},
        "grade": {"kind": "ordinal", "values": ["low", "mid", "high"], "eps": 1},
        "size": {"kind": "ordinal", "values": [1, 2, 5], "eps": 3},
        "town": {"columns": ["north", "south", "west"]},
        "sex": {"kind": "binary", "immutable": True},
    },
}
INPUTS = ["age", "income", "smoker", "job=none", "job=office", "job=works", "grade", "north", "south", "size", "west",
          "sex"]  # fmt: skip


def columns(rows: int = 60) -> dict[str, Any]:
    """The columns of a table, its labels with them; the towns do not stand side by side."""
    random = np.random.default_rng(0)
    town = random.integers(0, 3, rows)
    made: dict[str, Any] = {
        "age": random.integers(18, 91, rows),
        "income": random.normal(30, 10, rows),
        "smoker": random.integers(0, 2, rows),
        "job": random.choice(["office", "works", "none"], rows).astype(str),
        "grade": random.choice(["low", "mid", "high"], rows).astype(str),
        "north": (town == 0).astype(int),
        "south": (town == 1).astype(int),
        "size": random.choice([1, 2, 5], rows),
        "west": (town == 2).astype(int),
        "sex": random.integers(0, 2, rows),
    }
    score = made["age"] / 30 + made["income"] / 10 + made["smoker"] + 2 * (made["job"] == "office") + (town == 1)
    return {**made, "label": np.where(score > np.median(score), "yes", "no")}


def net(inputs: int = 12) -> nn.Module:
    """A linear model behind a scaler, which knows the rule above roughly."""
    model = nn.Linear(inputs, 2)
    weight = torch.tensor([1 / 30, 0.1, 1.0, 0.0, 2.0, 0.0, 0.1, 0.0, 1.0, 0.05, 0.0, 0.5])
    with torch.no_grad():
        model.weight.copy_(torch.stack([-weight, weight]))
        model.bias.copy_(torch.tensor([6.5, -6.5]))
    return model


def faults(x: Any, x_adv: Any, income: float) -> list[str]:
    """What is illegal about changed records, one row after the other, in plain Python."""
    found = []
    for row, (old, new) in enumerate(zip(np.asarray(x).tolist(), np.asarray(x_adv).tolist(), strict=True)):
        was, now = dict(zip(INPUTS, old, strict=True)), dict(zip(INPUTS, new, strict=True))
        jobs, towns = [now[name] for name in INPUTS[3:6]], [now[name] for name in ("north", "south", "west")]
        rules = {
            "age whole": now["age"].is_integer(),
            "age rises": was["age"] <= now["age"] <= min(was["age"] + 3, 90),
            "income": abs(now["income"] - was["income"]) <= income,
            "smoker": now["smoker"] in (0, 1),
            "job": sorted(jobs) == [0, 0, 1],
            "town": sorted(towns) == [0, 0, 1],
            "grade": now["grade"] in (0, 1, 2) and abs(now["grade"] - was["grade"]) <= 1,
            "size": now["size"] in (1, 2, 5) and abs(now["size"] - was["size"]) <= 3,
            "sex": now["sex"] == was["sex"],
        }
        found += [f"row {row}: {name}" for name, holds in rules.items() if not holds]
    return found
