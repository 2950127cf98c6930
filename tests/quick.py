"""Values of a parametrized test, of which some belong to the quick suite and the others to the slow one."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def quick(*values: object, slow: Iterable[object]) -> list[object]:
    """Returns `values`, and those in `slow` marked so."""
    return [*values, *(pytest.param(value, marks=pytest.mark.slow) for value in slow)]
