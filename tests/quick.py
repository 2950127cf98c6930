"""Values of a parametrized test, of which some belong to the quick suite and the others to the slow one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def quick(*values: object, slow: Iterable[object]) -> list[object]:
    """Returns `values`, and those in `slow` marked so."""
    return [*values, *(pytest.param(value, marks=pytest.mark.slow) for value in slow)]


def one_norm_each(attacks: Iterable[Any]) -> list[object]:
    """Returns attacks, of which only the first of each kind is quick: the others differ from it in their norm."""
    seen: set[str] = set()
    return [
        pytest.param(attack, marks=pytest.mark.slow if attack.label in seen or seen.add(attack.label) else ())
        for attack in attacks
    ]
