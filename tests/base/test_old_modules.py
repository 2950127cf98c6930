"""Old imports say what to type now."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest

import robustkit  # noqa: F401 - which is what makes old imports speak
from robustkit.base.old_modules import MOVED, Moved


@pytest.mark.parametrize("new", sorted(set(MOVED.values())))
def test_every_new_place_is_there(new):
    assert find_spec(f"robustkit.{new}") is not None


@pytest.mark.parametrize("old", ["norms", "defenses.trades", "report.svg"])
def test_an_old_import_names_the_new_one(old):
    with pytest.raises(ModuleNotFoundError, match=f"^robustkit.{old} has moved: import robustkit.{MOVED[old]}$"):
        import_module(f"robustkit.{old}")


@pytest.mark.parametrize("name", ["norms", "json", "other.norms", "robustkit.nonsense", "robustkit"])
def test_other_imports_are_left_to_others(name):
    assert Moved().find_spec(name) is None


def test_a_module_that_never_was_is_not_said_to_have_moved():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'robustkit\.nonsense'"):
        import_module("robustkit.nonsense")
